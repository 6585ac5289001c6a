//! What a machine may ask: `/metrics` for Prometheus, `/livez` and `/readyz` for whoever restarts and routes.
//!
//! `/livez` looks at the delivery shards alone and never at Kafka: a broker that is down is no reason to restart us.
//! It is served from the very start, so that a probe can see why the rest is not there yet.

mod watched;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::watch;

use self::watched::Watched;

use crate::driver::Watcher;
use crate::engine::connection::ConnectionKey;
use crate::engine::snapshot::{LaneState, Snapshot};
use crate::kafka::producer::Health;
use crate::metrics::Metrics;

/// The format that Prometheus' text encoder writes.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How many connections may have series of their own: each costs nine.
pub const MAX_WATCHED: usize = 50;

/// The section `[telemetry]` of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryConfig {
    /// Where `/metrics`, `/livez` and `/readyz` are served, in clear text; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Keys, `<project>/<connection>`, of the connections that have series of their own; at most [`MAX_WATCHED`].
    pub connections: Vec<String>,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9464)), connections: Vec::new() }
    }
}

impl TelemetryConfig {
    /// Every fault of `connections`.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let is_bad = |key: &&String| ConnectionKey::parse(key).is_none();
        let bad = self.connections.iter().filter(is_bad);
        let mut faults: Vec<_> = bad.map(|key| format!("{key:?} is no connection's key")).collect();
        if self.connections.len() > MAX_WATCHED {
            let count = self.connections.len();
            faults.push(format!(
                "{count} connections; at most {MAX_WATCHED} have series of their own"
            ));
        }
        faults
    }
}

/// What readiness is made of. The parts fill it in as they come up.
#[derive(Clone, Debug)]
pub struct Status {
    /// The topics exist and are safe.
    pub topics: Arc<AtomicBool>,
    /// The connections were read to their end.
    pub table: watch::Receiver<bool>,
    /// The group has assigned events to us, be it none.
    pub events: Arc<AtomicBool>,
    /// The group has assigned tiers to us, be it none.
    pub retries: Arc<AtomicBool>,
    /// It is a member of the groups; one that is none waits for no assignment.
    pub delivers: bool,
    /// Retries and dead letters can be written.
    pub producer: Health,
    /// We were told to stop.
    pub stopping: Arc<AtomicBool>,
    /// The shards, once they run.
    pub shards: Arc<OnceLock<Watcher>>,
}

/// The answer of `/readyz`.
#[derive(Debug, Serialize)]
struct Readiness {
    ready: bool,
    checks: Checks,
}

#[derive(Debug, Serialize)]
struct Checks {
    topics: bool,
    table: bool,
    events_assigned: bool,
    retries_assigned: bool,
    producer: bool,
    not_stopping: bool,
}

impl Status {
    fn readiness(&self) -> Readiness {
        let checks = Checks {
            topics: self.topics.load(Ordering::Acquire),
            table: *self.table.borrow(),
            events_assigned: !self.delivers || self.events.load(Ordering::Acquire),
            retries_assigned: !self.delivers || self.retries.load(Ordering::Acquire),
            producer: self.producer.is_good(),
            not_stopping: !self.stopping.load(Ordering::Acquire),
        };
        let ready = checks.named().iter().all(|(_, is_fulfilled)| *is_fulfilled);
        Readiness { ready, checks }
    }
}

impl Checks {
    /// With their names, for metrics.
    const fn named(&self) -> [(&'static str, bool); 6] {
        [
            ("topics", self.topics),
            ("table", self.table),
            ("events_assigned", self.events_assigned),
            ("retries_assigned", self.retries_assigned),
            ("producer", self.producer),
            ("not_stopping", self.not_stopping),
        ]
    }
}

#[derive(Clone)]
struct Served {
    status: Status,
    metrics: Arc<Metrics>,
    watched: Arc<Watched>,
}

/// Serves until the task is dropped.
///
/// # Errors
/// If the listener breaks.
pub async fn serve(
    listener: TcpListener,
    status: Status,
    metrics: Arc<Metrics>,
    config: &TelemetryConfig,
) -> std::io::Result<()> {
    let watched = Arc::new(Watched::new(&config.connections));
    let router = Router::new()
        .route("/metrics", get(show_metrics))
        .route("/livez", get(show_liveness))
        .route("/readyz", get(show_readiness))
        .with_state(Served { status, metrics, watched });
    axum::serve(listener, router).await
}

async fn show_metrics(State(served): State<Served>) -> Response {
    if let Some(shards) = served.status.shards.get() {
        let snapshot = shards.snapshot().await;
        show_lanes(&served.metrics, &snapshot);
        served.watched.show(&served.metrics, &snapshot);
    }
    for (check, is_fulfilled) in served.status.readiness().checks.named() {
        served.metrics.ready.with_label_values(&[check]).set(i64::from(is_fulfilled));
    }
    match served.metrics.render() {
        Ok(text) => ([(header::CONTENT_TYPE, METRICS_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn show_liveness(State(served): State<Served>) -> Response {
    let is_alive = served.status.shards.get().is_none_or(Watcher::is_alive);
    let code = if is_alive { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(serde_json::json!({ "alive": is_alive }))).into_response()
}

async fn show_readiness(State(served): State<Served>) -> Response {
    let readiness = served.status.readiness();
    let code = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(readiness)).into_response()
}

/// Gauges that are counted when somebody looks, not with every delivery.
fn show_lanes(metrics: &Metrics, snapshot: &Snapshot) {
    let count = |state| snapshot.lanes.iter().filter(|lane| lane.state == state).count();
    for state in LaneState::ALL {
        metrics.lanes.with_label_values(&[state.as_str()]).set(as_gauge(count(state)));
    }
    metrics.breakers_open.set(as_gauge(count(LaneState::BreakerOpen)));
    metrics.queued_deliveries.set(as_gauge(snapshot.queued));
}

fn as_gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::snapshot::{LaneSnapshot, Totals};

    fn lane(key: &str) -> LaneSnapshot {
        LaneSnapshot {
            connection: ConnectionKey::parse(key).unwrap(),
            state: LaneState::Backlogged,
            queued: 3,
            in_flight: 2,
            waits_for: None,
            until: None,
            oldest: None,
            parked: 0,
            totals: Totals { delivered: 10, ..Totals::default() },
        }
    }

    fn shown(lanes: usize, watched: &Watched) -> String {
        let metrics = Metrics::new().unwrap();
        let lanes = (0..lanes).map(|number| lane(&format!("1/c{number}"))).collect();
        let snapshot = Snapshot { lanes, ..Snapshot::default() };
        show_lanes(&metrics, &snapshot);
        watched.show(&metrics, &snapshot);
        metrics.render().unwrap()
    }

    #[test]
    fn the_number_of_series_does_not_grow_with_the_connections() {
        let few = shown(1, &Watched::new(&[])).lines().count();
        assert_eq!(shown(5_000, &Watched::new(&[])).lines().count(), few);
    }

    #[test]
    fn only_a_listed_connection_has_series_of_its_own() {
        let text = shown(3, &Watched::new(&["1/c1".to_owned(), "1/absent".to_owned()]));
        let line =
            "barnabas_connection_deliveries_total{connection=\"1/c1\",outcome=\"delivered\"} 10";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("barnabas_connection_queued_deliveries{connection=\"1/absent\"} 0"));
        assert!(!text.contains("1/c0") && !text.contains("1/c2"));
    }

    #[test]
    fn a_key_that_is_none_and_one_too_many_are_faults() {
        let connections = (0..=MAX_WATCHED).map(|number| format!("1/c{number}")).collect();
        let mut config = TelemetryConfig { connections, ..TelemetryConfig::default() };
        assert_eq!(config.faults().len(), 1);
        config.connections = vec!["crm".to_owned()];
        assert_eq!(config.faults(), ["\"crm\" is no connection's key"]);
    }
}
