//! Sends spans to a collector: OTLP over HTTP, in JSON.
//!
//! One thread with a runtime of its own takes spans from a bounded queue and posts them in batches. A batch that is not
//! taken is dropped and counted, never sent again: spans are worth less than the memory that they would wait in. Ends
//! when all tracers are gone, after a last batch. See <https://opentelemetry.io/docs/specs/otlp/#otlphttp>.

use std::io;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use prometheus::IntCounter;
use reqwest::redirect::Policy;
use serde_json::{Value, json};
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::span::{Attribute, Span};

/// Spans that may wait: with a few hundred bytes each some 4 MiB.
const QUEUE: usize = 8_192;
/// Spans in one request, at most: as OpenTelemetry's own batches.
const BATCH: usize = 512;
/// A batch that is not full leaves after this.
const FILL_TIME: Duration = Duration::from_secs(1);
/// A collector stands nearby; what it has not taken within this is dropped.
const POST_TIME: Duration = Duration::from_secs(5);
/// A collector that is away is logged at most so often.
const LOG_PAUSE: Duration = Duration::from_secs(60);

struct Exporter {
    http: reqwest::Client,
    url: String,
    dropped: IntCounter,
    logged_at: Option<Instant>,
}

/// Starts the exporter; it ends when its senders are gone.
pub(super) fn start(
    endpoint: &str,
    dropped: IntCounter,
) -> io::Result<(mpsc::Sender<Span>, JoinHandle<()>)> {
    let (sender, spans) = mpsc::channel(QUEUE);
    let http = reqwest::Client::builder()
        .timeout(POST_TIME)
        .redirect(Policy::none())
        .no_proxy()
        .build()
        .map_err(io::Error::other)?;
    let url = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
    let exporter = Exporter { http, url, dropped, logged_at: None };
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let run = move || runtime.block_on(exporter.run(spans));
    Ok((sender, thread::Builder::new().name("traces".to_owned()).spawn(run)?))
}

impl Exporter {
    async fn run(mut self, mut spans: mpsc::Receiver<Span>) {
        let mut batch = Vec::with_capacity(BATCH);
        while spans.recv_many(&mut batch, BATCH).await > 0 {
            let fill = async {
                while batch.len() < BATCH {
                    let room = BATCH - batch.len();
                    if spans.recv_many(&mut batch, room).await == 0 {
                        return;
                    }
                }
            };
            // However it ends, what is there leaves.
            let _ = timeout(FILL_TIME, fill).await;
            if let Err(reason) = self.post(&batch).await {
                self.drop_batch(batch.len(), &reason);
            }
            batch.clear();
        }
    }

    async fn post(&self, batch: &[Span]) -> Result<(), String> {
        let request = self.http.post(&self.url).json(&document(batch));
        let answer = request.send().await.map_err(|error| error.without_url().to_string())?;
        let status = answer.status();
        if status.is_success() { Ok(()) } else { Err(format!("it answered {status}")) }
    }

    fn drop_batch(&mut self, spans: usize, reason: &str) {
        self.dropped.inc_by(spans as u64);
        if self.logged_at.is_none_or(|at| at.elapsed() >= LOG_PAUSE) {
            self.logged_at = Some(Instant::now());
            warn!(reason, spans, "the collector of traces.endpoint has not taken spans");
        }
    }
}

fn document(batch: &[Span]) -> Value {
    let version = env!("CARGO_PKG_VERSION");
    let resource = [
        Attribute::from("barnabas").to_json("service.name"),
        Attribute::from(version).to_json("service.version"),
    ];
    let spans: Vec<_> = batch.iter().map(Span::to_json).collect();
    json!({ "resourceSpans": [{
        "resource": { "attributes": resource },
        "scopeSpans": [{ "scope": { "name": "barnabas", "version": version }, "spans": spans }],
    }]})
}
