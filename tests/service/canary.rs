//! No secret leaves the service but in the request that it is for: unique secrets in every field, and a search for
//! them in everything that the service writes and says.

use barnabas::demo::receiver::Behaviour;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use memchr::memmem;
use serde_json::json;

use crate::support::api::{Api, connections, one};
use crate::support::browser::Browser;
use crate::support::eventually;
use crate::support::keys::Keys;
use crate::support::log::Log;
use crate::support::service::Service;
use crate::support::stage::{PROJECT, Stage};

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

/// Plain, as JSON, in HTML, in base64, in a URL and in hex.
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
        secret.replace('&', "&#38;"),
        secret.replace('&', "&amp;"),
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

/// The ids of a list of the API, once it has one.
fn ids(api: &Api, path: &str) -> Vec<String> {
    eventually(path, || {
        let answer = api.get(path);
        let items =
            (answer.status == 200).then(|| answer.json()["items"].as_array().cloned())??;
        let ids: Vec<_> =
            items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect();
        (!ids.is_empty()).then_some(ids)
    })
}

/// Everything that the API says of them, of their attempts and dead letters, of a test, and of what it refuses.
fn answers(service: &Service) -> String {
    let api = Api::of(service);
    api.get(&connections()).expect(200);
    for id in ["good-basic", "bad-bearer", "gone-plain", "odd", "moved"] {
        api.get(&one(id)).expect(200);
        api.get(&format!("{}/health", one(id)));
    }
    for id in ["good-basic", "bad-bearer", "gone-plain"] {
        let attempts = format!("{}/attempts", one(id));
        for attempt in ids(&api, &attempts) {
            api.get(&format!("{attempts}/{attempt}")).expect(200);
        }
        let test = json!({"event": "message_open", "channel": "email"});
        let path = format!("{}/test", one(id));
        // That of a connection that was deactivated may be refused.
        api.send("POST", &path, &[], Some(&test));
    }
    let letters = format!("/api/v1/projects/{PROJECT}/dead-letters");
    for letter in ids(&api, &letters) {
        api.get(&format!("{letters}/{letter}")).expect(200);
    }
    api.get(&format!("{letters}/export")).expect(200);
    api.get("/api/v1/pipeline").expect(200);
    let refused = json!({"name": "", "url": "http://x", "events": [], "channels": ["email"],
        "auth": {"type": "basic", "username": format!("{USER}:"), "password": PASSWORD}, "token": TOKEN});
    let answer = api.create(&refused);
    assert!((400..500).contains(&answer.status), "{answer:?}");
    let seen = api.seen();
    assert!(seen.contains("good-basic") && seen.contains("has_secret"), "{seen}");
    seen
}

/// The pages about the same, and a form that is refused with what was filled in.
fn pages(service: &Service) -> String {
    let browser = Browser::signed_in(service.admin(), &service.set_up_token());
    let api = Api::of(service);
    let project = format!("/projects/{PROJECT}");
    let mut paths =
        vec![format!("{project}/integrations/configured"), format!("{project}/dead-letters")];
    let letter = ids(&api, &format!("/api/v1{project}/dead-letters")).remove(0);
    paths.push(format!("{project}/dead-letters/{letter}"));
    for id in ["good-basic", "bad-bearer", "gone-plain"] {
        let path = format!("{project}/connections/{id}");
        let attempt = ids(&api, &format!("{}/attempts", one(id))).remove(0);
        let below =
            ["/attempts", "/health", "/test", "/delete"].map(|part| format!("{path}{part}"));
        paths.push(format!("{path}/attempts/{attempt}"));
        paths.extend(below);
        paths.push(path);
    }
    let mut seen: String = paths.iter().map(|path| browser.open(path).expect(200).html).collect();
    for broken in ["odd", "moved"] {
        seen.push_str(&browser.open(&format!("{project}/connections/{broken}")).html);
    }
    let form = format!("{project}/integrations/webhooks/connect");
    let once = browser.open(&form).expect(200).hidden("once");
    for (auth, secret) in [("basic", "password"), ("bearer", "token")] {
        let fields = [
            ("once", &*once),
            ("name", ""),
            ("url", "http://x"),
            ("auth", auth),
            ("username", USER),
            (secret, PASSWORD),
        ];
        seen.push_str(&browser.send(&form, &fields).expect(422).html);
    }
    assert!(seen.contains("good-basic") && seen.contains("webhook-id"), "{seen}");
    seen
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
    let answers = answers(&service);
    let pages = pages(&service);
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
    let for_those_who_may = [Place::text("API", answers), Place::text("console", pages)];
    for (place, hidden) in places
        .iter()
        .map(|place| (place, true))
        .chain(for_those_who_may.iter().map(|place| (place, false)))
    {
        for secret in secrets().into_iter().filter(|secret| hidden || secret != USER) {
            hits.extend(place.hits(&secret).into_iter().map(|form| (place.name.clone(), form)));
        }
    }
    assert!(hits.is_empty(), "{hits:#?}");
    service.stop();
}
