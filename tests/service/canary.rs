//! No secret leaves the service but in the request that it is for: unique secrets in every field, and a search for
//! them in everything that the service writes and says.

use barnabas::demo::receiver::Behaviour;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use memchr::memmem;
use serde_json::json;

use crate::support::api::{Api, connections, one};
use crate::support::eventually;
use crate::support::keys::Keys;
use crate::support::log::Log;
use crate::support::stage::Stage;

const USER: &str = "canary-user-51c7/+ü&x";
const PASSWORD: &str = "canary-pass-e09b/+=ü&x";
const TOKEN: &str = "canary-token-7d3f/+=&x";
const PLAIN_TOKEN: &str = "canary-plain-22a8/+=&x";

/// Something that the service has written or said, with its name.
struct Place {
    name: String,
    bytes: Vec<u8>,
}

impl Place {
    fn text(name: &str, text: String) -> Self {
        Self { name: name.to_owned(), bytes: text.into_bytes() }
    }

    /// Every record of a topic, whole.
    fn topic(stage: &Stage, name: &str) -> Self {
        let topic = format!("{}.{name}", stage.name);
        let mut bytes = Vec::new();
        for entry in Log::open(&stage.bootstrap, &topic).read() {
            bytes.extend_from_slice(format!("{:?} {:?} ", entry.key, entry.headers).as_bytes());
            bytes.extend_from_slice(&entry.value);
            bytes.push(b'\n');
        }
        assert!(!bytes.is_empty(), "{topic} has records to look at");
        Self { name: topic, bytes }
    }

    /// The forms of the secret that are found here.
    fn hits(&self, secret: &str) -> Vec<String> {
        let is_here = |form: &String| memmem::find(&self.bytes, form.as_bytes()).is_some();
        forms(secret).into_iter().filter(is_here).collect()
    }
}

/// Plain, as JSON, in base64, in a URL and in hex.
fn forms(secret: &str) -> Vec<String> {
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let percent: String = secret
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect();
    let json = secret.replace('ü', "\\u00fc");
    vec![
        secret.to_owned(),
        json,
        STANDARD_NO_PAD.encode(secret),
        URL_SAFE_NO_PAD.encode(secret),
        percent.to_lowercase(),
        percent,
        hex.to_uppercase(),
        hex,
    ]
}

/// The secrets, alone and as they stand in a header.
fn secrets() -> Vec<String> {
    let alone = [USER, PASSWORD, TOKEN, PLAIN_TOKEN].map(str::to_owned);
    alone.into_iter().chain([format!("{USER}:{PASSWORD}")]).collect()
}

/// Connections of every kind, in every fate: delivered, retried and given up, gone, unreadable.
fn connect_all(stage: &Stage, keys: &Keys) {
    let fails = Behaviour::status(http::StatusCode::INTERNAL_SERVER_ERROR);
    let gone = Behaviour::status(http::StatusCode::GONE);
    for (fate, behaviour) in [("good", Behaviour::Healthy), ("bad", fails), ("gone", gone)] {
        let credentials = |kind: &str, id: &str| match kind {
            "basic" => {
                json!({"type": "basic", "username": USER, "password": keys.seal(stage, id, PASSWORD)})
            }
            "bearer" => json!({"type": "bearer", "token": keys.seal(stage, id, TOKEN)}),
            _ => json!({"type": "bearer", "token": PLAIN_TOKEN}),
        };
        for kind in ["basic", "bearer", "plain"] {
            let id = format!("{fate}-{kind}");
            stage.connect(&id, json!({"auth": credentials(kind, &id)}));
            stage.receiver.set_behaviour(&format!("/{id}"), behaviour.clone());
        }
    }
    let odd = json!({"type": "basic", "username": format!("{USER}:"), "password": [PASSWORD]});
    stage.put("odd", json!({"auth": odd, "name": "", "events": ["message_open"]}));
    let moved = json!({"type": "bearer", "token": keys.seal(stage, "another", TOKEN)});
    stage.put("moved", json!({"auth": moved, "status": PLAIN_TOKEN}));
}

#[test]
fn secrets_are_nowhere_but_in_their_requests() {
    let keys = Keys::new();
    let settings = format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\n[log]\nlevel = \"trace\"\n[retry]\nschedule = [\"300ms\", \"700ms\"]\n{}",
        keys.settings()
    );
    let Some(stage) = Stage::new("canary", &settings) else { return };
    connect_all(&stage, &keys);
    let service = stage.serve();
    stage.produce(0..3);
    let is_pending = || service.metric("barnabas_connections", "inactive") < 3.0;
    eventually("the gone are inactive", || (!is_pending()).then_some(()));
    let mut dead_letters = stage.dead_letters();
    eventually("what failed and what could not be read is given up", || {
        let count = |reason: &str, entries: &[crate::support::log::Entry]| {
            entries.iter().filter(|entry| entry.header("barnabas-reason") == reason).count()
        };
        let entries = dead_letters.read();
        let is_over =
            count("exhausted", entries) == 9 && count("connection_unreadable", entries) == 6;
        is_over.then_some(())
    });
    let sent = stage.receiver.receipts("/good-plain");
    assert_eq!(sent[0].authorization, Some(format!("Bearer {PLAIN_TOKEN}")));
    let (_, metrics) = service.get("/metrics");
    let api = Api::of(&service);
    let mut answers = api.get(&connections()).expect(200).body;
    for id in ["good-basic", "bad-bearer", "gone-plain", "odd", "moved"] {
        answers.push_str(&api.get(&one(id)).expect(200).body);
    }
    assert!(answers.contains("good-basic") && answers.contains("has_secret"), "{answers}");
    let log = service.log();
    assert!(log.contains("\"TRACE\"") && log.contains("\"DEBUG\""), "it logs everything");

    // The search itself finds what is there: the one topic in which another system wrote plain text.
    let connections = Place::topic(&stage, "connections");
    assert_eq!(connections.hits(PLAIN_TOKEN).len(), 1 + 1, "plain, which is its JSON, too");
    assert!(connections.hits(TOKEN).is_empty(), "what is sealed cannot be read there");

    let places = [
        Place::text("log", log),
        Place::text("/metrics", metrics),
        Place::topic(&stage, "attempts"),
        Place::topic(&stage, "retry.300ms"),
        Place::topic(&stage, "retry.700ms"),
        Place::topic(&stage, "dead-letters"),
        Place::topic(&stage, "states"),
    ];
    let mut hits: Vec<(String, String)> = Vec::new();
    // A user name is no secret to whoever may see the connection.
    let answers = Place::text("API", answers);
    for secret in secrets().into_iter().filter(|secret| secret != USER) {
        hits.extend(answers.hits(&secret).into_iter().map(|form| (answers.name.clone(), form)));
    }
    for place in &places {
        for secret in secrets() {
            hits.extend(place.hits(&secret).into_iter().map(|form| (place.name.clone(), form)));
        }
    }
    assert!(hits.is_empty(), "{hits:#?}");
    service.stop();
}
