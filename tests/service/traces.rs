//! Traces: what a collector gets, and what a receiver is told.

use serde_json::json;

use crate::support::PATIENCE;
use crate::support::stage::Stage;

/// What the producer of an event says of itself.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PRODUCER: &str = "00f067aa0ba902b7";

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{PRODUCER}-{flags}")
}

#[test]
fn a_receiver_is_told_the_trace_only_where_that_was_asked_for() {
    for (settings, told) in
        [("", None), ("[traces]\ntraceparent = \"send\"\n", Some(traceparent("01")))]
    {
        let Some(stage) = Stage::new("told", settings) else { return };
        stage.connect("all", json!({}));
        let service = stage.serve();
        stage.produce_with(1, &[("traceparent", &traceparent("01"))]);
        stage.receiver.wait_for("/all", 1, PATIENCE).unwrap();
        assert_eq!(stage.receiver.receipts("/all")[0].traceparent, told, "{settings}");
        service.stop();
    }
}

#[cfg(feature = "otlp")]
mod exported {
    use std::sync::mpsc::{Receiver, channel};
    use std::thread;

    use axum::routing::post;
    use axum::{Json, Router};
    use barnabas::demo::receiver::Behaviour;
    use reqwest::StatusCode;
    use serde_json::{Value, json};
    use tokio::net::TcpListener;

    use super::{PRODUCER, TRACE, traceparent};
    use crate::support::stage::Stage;
    use crate::support::{PATIENCE, eventually};

    /// A collector of OTLP over HTTP: its address, and the requests that it gets.
    fn collector() -> (String, Receiver<Value>) {
        let (address, bound) = channel();
        let (sender, requests) = channel();
        thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                address.send(listener.local_addr().unwrap()).unwrap();
                let take = post(move |Json(request): Json<Value>| {
                    let _ = sender.send(request);
                    async { Json(json!({})) }
                });
                axum::serve(listener, Router::new().route("/v1/traces", take)).await.unwrap();
            });
        });
        (format!("http://{}", bound.recv().unwrap()), requests)
    }

    fn settings(endpoint: &str) -> String {
        format!("[traces]\nendpoint = \"{endpoint}\"\ntraceparent = \"send\"\n")
    }

    /// The spans of a request.
    fn spans(request: &Value) -> Vec<Value> {
        let resource = &request["resourceSpans"][0];
        let service = &resource["resource"]["attributes"][0];
        assert_eq!(service, &json!({"key": "service.name", "value": {"stringValue": "barnabas"}}));
        resource["scopeSpans"][0]["spans"].as_array().unwrap().clone()
    }

    /// Spans until an attempt has succeeded.
    fn collect(requests: &Receiver<Value>) -> Vec<Value> {
        let mut found: Vec<Value> = Vec::new();
        let is_success = |span: &Value| span["kind"] == CLIENT && span["status"] == json!({});
        while !found.iter().any(is_success) {
            found.extend(spans(&requests.recv_timeout(PATIENCE).unwrap()));
        }
        found
    }

    const CLIENT: i64 = 3;
    const CONSUMER: i64 = 5;

    fn of_kind(spans: &[Value], kind: i64) -> Vec<&Value> {
        spans.iter().filter(|span| span["kind"] == kind).collect()
    }

    fn attribute(span: &Value, key: &str) -> Option<Value> {
        let all = span["attributes"].as_array().unwrap();
        all.iter().find(|one| one["key"] == key).map(|one| one["value"].clone())
    }

    fn nanos(span: &Value, key: &str) -> u64 {
        span[key].as_str().unwrap().parse().unwrap()
    }

    #[test]
    fn an_event_and_each_of_its_attempts_have_a_span_below_the_producers() {
        let (endpoint, requests) = collector();
        let Some(stage) = Stage::new("traces", &settings(&endpoint)) else { return };
        stage.connect("flaky", json!({}));
        stage.receiver.set_behaviour("/flaky", Behaviour::status(StatusCode::BAD_GATEWAY));
        let service = stage.serve();
        stage.produce_with(1, &[("traceparent", &traceparent("01"))]);
        stage.receiver.wait_for("/flaky", 1, PATIENCE).unwrap();
        stage.receiver.set_behaviour("/flaky", Behaviour::Healthy);
        stage.receiver.wait_for("/flaky", 2, PATIENCE).unwrap();
        let all = collect(&requests);
        let [event] = of_kind(&all, CONSUMER)[..] else { panic!("one event: {all:#?}") };
        assert_eq!(event["traceId"], TRACE);
        assert_eq!(event["parentSpanId"], PRODUCER);
        assert_eq!(event["name"], format!("process {}", stage.events()));
        assert_eq!(attribute(event, "barnabas.webhook_id"), Some(json!({"stringValue": "e1"})));
        let attempts = of_kind(&all, CLIENT);
        for attempt in &attempts {
            assert_eq!(attempt["traceId"], TRACE);
            assert_eq!(attempt["parentSpanId"], event["spanId"]);
            assert!(nanos(attempt, "startTimeUnixNano") < nanos(attempt, "endTimeUnixNano"));
        }
        let code = |attempt: &Value| attribute(attempt, "http.response.status_code").unwrap();
        assert_eq!(code(attempts[0]), json!({"intValue": "502"}));
        assert_eq!(attempts[0]["status"]["code"], 2);
        let last = attempts.last().unwrap();
        assert_eq!(code(last), json!({"intValue": "200"}));
        assert_eq!(last["status"], json!({}));
        // The receiver's own spans hang below the very attempt that called it.
        let told = stage.receiver.receipts("/flaky");
        for (receipt, attempt) in told.iter().zip(&attempts) {
            let span = attempt["spanId"].as_str().unwrap();
            assert_eq!(receipt.traceparent, Some(format!("00-{TRACE}-{span}-01")));
        }
        service.stop();
    }

    #[test]
    fn the_producers_decision_holds_and_without_one_an_event_has_a_trace_of_its_own() {
        let (endpoint, requests) = collector();
        let Some(stage) = Stage::new("sampled", &settings(&endpoint)) else { return };
        stage.connect("all", json!({}));
        let service = stage.serve();
        stage.produce_with(1, &[("traceparent", &traceparent("00"))]);
        stage.receiver.wait_for("/all", 1, PATIENCE).unwrap();
        stage.produce(2..3);
        stage.receiver.wait_for("/all", 2, PATIENCE).unwrap();
        // What is left leaves before the end.
        service.stop();
        let all = collect(&requests);
        assert_eq!(
            (of_kind(&all, CONSUMER).len(), of_kind(&all, CLIENT).len()),
            (1, 1),
            "{all:#?}"
        );
        for span in &all {
            assert_ne!(span["traceId"], TRACE);
            let id = attribute(span, "barnabas.webhook_id");
            assert_eq!(id, Some(json!({"stringValue": "e2"})));
        }
        assert_eq!(of_kind(&all, CONSUMER)[0]["parentSpanId"], "");
        // Nobody records ours: the producer's own is passed on.
        let told = stage.receiver.receipts("/all")[0].traceparent.clone();
        assert_eq!(told, Some(traceparent("00")));
    }

    #[test]
    fn without_a_collector_events_flow_and_lost_spans_are_counted() {
        let Some(stage) = Stage::new("nocollector", &settings("http://127.0.0.1:1")) else {
            return;
        };
        stage.connect("all", json!({}));
        let service = stage.serve();
        stage.produce(0..5);
        stage.receiver.wait_for("/all", 5, PATIENCE).unwrap();
        eventually("five events and five attempts are counted", || {
            (service.metric("barnabas_spans_dropped_total", "") == 10.0).then_some(())
        });
        service.stop();
    }
}
