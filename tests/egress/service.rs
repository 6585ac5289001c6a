//! The service's road: connections are loaded from their topic, made and tested by the admin API, and called by the
//! whole service, as `serve` runs it, on an embedded broker.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use barnabas::admin::tokens::shown_once;
use barnabas::app::{App, TopicCheck};
use barnabas::config::Config;
use barnabas::demo::broker::{Broker, CLIENT_PROPERTIES};
use barnabas::engine::retry::RetryPolicy;
use barnabas::kafka::topics::{Ready, TopicNames};
use barnabas::shutdown::Shutdown;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use serde_json::{Value, json};

use super::network::{BROKER, Network};
use super::{names, namespace};

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);
const PARTITIONS: i32 = 2;

/// The table of URLs.
#[derive(serde::Deserialize)]
struct Urls {
    refused: Vec<String>,
}

#[test]
fn what_is_refused_is_never_called_by_the_service() {
    namespace::enter("service::what_is_refused_is_never_called_by_the_service", || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(service());
    });
}

async fn service() {
    let network = Network::new().await;
    let mut config = Config::default();
    let names =
        TopicNames::new(&config.topics, RetryPolicy::try_from(&config.retry).unwrap().delays());
    let broker = broker(&names);
    // A second one that never answers: what matters is that it is one.
    config.kafka.bootstrap_servers = format!("{},{BROKER}:9092", broker.bootstrap());
    let properties = CLIENT_PROPERTIES.into_iter().chain([("group.protocol", "consumer")]);
    config.kafka.properties =
        properties.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    config.egress.ca_file = Some(network.ca_file());
    config.shutdown.grace_seconds = 1;
    config.telemetry.listen = free_address();
    config.admin.listen = Some(free_address());
    let admin = config.admin.listen.unwrap();
    let producer: ThreadedProducer<DefaultProducerContext> =
        config.kafka.producer().create().unwrap();

    let urls: Urls = serde_json::from_str(include_str!("../fixtures/urls.json")).unwrap();
    let denied = names::DENIED.iter().map(|(label, _)| *label).chain(["alias", "many", "listed"]);
    let denied: Vec<_> = denied.collect();
    let good = if namespace::has_ipv6() { vec!["good", "good6"] } else { vec!["good"] };
    let labels: Vec<_> = denied.iter().chain(&good).chain(&["absent", "silent"]).copied().collect();
    connect_all(&producer, &names.connections, &urls.refused, &labels);
    let event = json!({
        "event_id": "e1", "project_id": "p", "event": "message_open", "time": 1_760_090_581,
        "properties": {"message_type": "email", "campaign_id": 1, "profile_id": 2},
    });
    send(&producer, &names.events, "p:2", &event);
    producer.flush(PATIENCE).unwrap();

    let telemetry = config.telemetry.listen;
    let shutdown = Shutdown::new(&config.shutdown);
    let (running, token) = run(config, shutdown.clone());
    let expected = [
        ("barnabas_connections{status=\"unreadable\"}", urls.refused.len()),
        ("barnabas_dead_letters_total{reason=\"egress_denied\"}", denied.len()),
        ("barnabas_deliveries_total{outcome=\"delivered\"}", good.len()),
        ("barnabas_attempts_total{outcome=\"dns\",status_class=\"none\"}", 2),
    ];
    let seen = wait_for(telemetry, &expected, &running).await;
    assert!(seen[1] <= denied.len() as f64 && seen[2] <= good.len() as f64, "{seen:?}");
    assert_eq!(network.accepted(), good.len());
    network.assert_untouched();
    let api = Api { base: format!("http://{admin}/api/v1/projects/p/connections"), token };
    api.is_as_strict(&urls.refused, &denied, &good).await;
    assert_eq!(network.accepted(), 2 * good.len());
    network.assert_untouched();
    network.assert_they_bite().await;
    shutdown.ask();
    let ended = tokio::task::spawn_blocking(|| running.join().unwrap());
    ended.await.unwrap();
}

/// Waits until the service has counted so many of each; what it has then.
async fn wait_for(
    telemetry: SocketAddr,
    expected: &[(&str, usize)],
    running: &thread::JoinHandle<()>,
) -> Vec<f64> {
    let started = Instant::now();
    loop {
        let metrics = metrics(telemetry).unwrap_or_default();
        let seen: Vec<_> = expected.iter().map(|(series, _)| value_of(&metrics, series)).collect();
        if seen.iter().zip(expected).all(|(seen, (_, least))| *seen >= *least as f64) {
            return seen;
        }
        assert!(started.elapsed() < PATIENCE && !running.is_finished(), "{seen:?} of {expected:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn broker(names: &TopicNames) -> Broker {
    let own =
        [&names.connections, &names.states, &names.dead_letters, &names.attempts, &names.audit];
    let all = own.into_iter().chain([&names.events]).chain(&names.retry);
    let topics: Vec<_> = all.map(|name| (name.as_str(), PARTITIONS)).collect();
    Broker::start(&topics).unwrap()
}

/// Runs the service; gives the token of its admin API, too.
fn run(config: Config, shutdown: Shutdown) -> (thread::JoinHandle<()>, String) {
    let partitions = u32::try_from(PARTITIONS).unwrap();
    let topics =
        Ready { events_partitions: partitions, retry_partitions: partitions, advice: Vec::new() };
    let (tell, token) = std::sync::mpsc::channel();
    let thread = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let app = App::build(config, TopicCheck::Trust(topics), shutdown).await.unwrap();
            tell.send(shown_once(app.set_up_token().unwrap()).to_owned()).unwrap();
            app.run().await.unwrap();
        });
    });
    (thread, token.recv().unwrap())
}

/// A client of the admin API.
struct Api {
    base: String,
    token: String,
}

impl Api {
    /// What is made and tested by it is judged as what is loaded and attempted.
    async fn is_as_strict(&self, refused: &[String], denied: &[&str], good: &[&str]) {
        self.refuses_to_make(refused).await;
        self.tests(denied, "denied").await;
        self.tests(&["absent", "silent"], "dns").await;
        self.tests(good, "delivered").await;
        assert_eq!(self.test("refused-0").await["status"], 404, "it is unreadable");
    }

    /// Asks for new connections with these URLs, and is refused because of them.
    async fn refuses_to_make(&self, urls: &[String]) {
        for url in urls {
            let draft = json!({"name": "made", "url": url, "auth": {"type": "bearer", "token": "t0ken"},
                "events": ["message_open"], "channels": ["email"]});
            let (status, answer) = self.post("", &draft).await;
            let pointer = &answer["errors"][0]["pointer"];
            assert_eq!((status, pointer), (422, &json!("/url")), "{url}: {answer}");
        }
    }

    /// Sends a test event of each connection, which comes to that.
    async fn tests(&self, ids: &[&str], outcome: &str) {
        for id in ids {
            assert_eq!(self.test(id).await["outcome"], outcome, "{id}");
        }
    }

    /// Sends a test event of a connection.
    async fn test(&self, id: &str) -> Value {
        let body = json!({"event": "message_open", "channel": "email"});
        self.post(&format!("/{id}/test"), &body).await.1
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let url = format!("{}{path}", self.base);
        let request = reqwest::Client::new().post(url).bearer_auth(&self.token).json(body);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }
}

/// Connections with URLs that the rule refuses, and to names of all sorts.
fn connect_all(
    producer: &ThreadedProducer<DefaultProducerContext>,
    topic: &str,
    refused: &[String],
    labels: &[&str],
) {
    for (number, url) in refused.iter().enumerate() {
        connect(producer, topic, &format!("refused-{number}"), url);
    }
    for label in labels {
        connect(producer, topic, label, &format!("https://{label}.example.com/in"));
    }
}

fn connect(producer: &ThreadedProducer<DefaultProducerContext>, topic: &str, id: &str, url: &str) {
    let record = json!({
        "schema": 1, "project_id": "p", "connection_id": id, "revision": 1, "name": id, "status": "active",
        "url": url, "auth": {"type": "bearer", "token": "t0ken"},
        "events": ["message_open"], "channels": ["email"],
        "created_at": 1_700_000_000, "updated_at": 1_700_000_000,
    });
    send(producer, topic, &format!("p/{id}"), &record);
}

fn send(
    producer: &ThreadedProducer<DefaultProducerContext>,
    topic: &str,
    key: &str,
    value: &Value,
) {
    let value = value.to_string();
    let sent = producer.send(BaseRecord::to(topic).key(key).payload(&value));
    sent.map_err(|(error, _)| error).unwrap();
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The metrics as text; `None` while nobody serves them.
fn metrics(at: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(at).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

fn value_of(metrics: &str, series: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or(0.0)
}
