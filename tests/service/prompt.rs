//! How soon a change takes effect, and how fast many connections are listed.

use std::thread;
use std::time::{Duration, Instant};

use barnabas::demo::receiver::{Behaviour, Credentials};
use serde_json::{Value, json};

use crate::support::api::{Answer, Api, connections, one};
use crate::support::browser::Browser;
use crate::support::stage::{PROJECT, Stage};
use crate::support::{PATIENCE, eventually};

const ADMIN: &str = "[admin]\nlisten = \"127.0.0.1:0\"\n";
/// From the request to its effect, on whichever instance.
const SOON: Duration = Duration::from_secs(2);
/// For a page of the list.
const AT_ONCE: Duration = Duration::from_millis(200);
/// Between two events of the stream.
const PACE: Duration = Duration::from_millis(5);
const MANY: usize = 10_000;

/// A stream of opened emails.
struct Events<'a> {
    stage: &'a Stage,
    next: u64,
}

impl Events<'_> {
    /// Sends events until the fact, and says how long that took.
    fn until(&mut self, begun: Instant, what: &str, mut look: impl FnMut() -> bool) -> Duration {
        eventually(what, || {
            self.send();
            look().then_some(())
        });
        begun.elapsed()
    }

    /// Sends events for that long.
    fn for_as_long_as(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.send();
            thread::park_timeout(PACE);
        }
    }

    fn send(&mut self) {
        self.stage.send(self.next);
        self.next += 1;
    }
}

fn requests(stage: &Stage, path: &str) -> u64 {
    stage.receiver.counts(path).requests
}

#[test]
fn a_change_is_in_effect_on_both_instances_within_two_seconds() {
    let Some(stage) = Stage::new("prompt", ADMIN) else { return };
    for path in ["/crm", "/moved"] {
        stage.receiver.set_behaviour(path, Behaviour::Healthy);
        stage.receiver.set_credentials(path, &Credentials::bearer("t0ken"));
    }
    let services = [stage.serve(), stage.serve()];
    let api = Api::of(&services[0]);
    let mut events = Events { stage: &stage, next: 0 };
    let wanted = json!({
        "name": "CRM", "url": stage.receiver.url("/crm"), "auth": {"type": "bearer", "token": "t0ken"},
        "events": ["message_open"], "channels": ["email"],
        "delivery": {"rate_per_second": 10000, "burst": 10000},
    });

    let begun = Instant::now();
    let created = api.create(&wanted).expect(201).json();
    let created_after = events.until(begun, "it is delivered", || requests(&stage, "/crm") > 0);
    let path = one(created["connection_id"].as_str().unwrap());

    let mut moved = wanted;
    moved["url"] = json!(stage.receiver.url("/moved"));
    let begun = Instant::now();
    api.send("PUT", &path, &[("if-match", "*")], Some(&moved)).expect(200);
    let moved_after = events.until(begun, "it is moved", || requests(&stage, "/moved") > 0);
    let stopped_old = last_request(&mut events, "/crm", begun);

    let begun = Instant::now();
    api.send("POST", &format!("{path}/deactivate"), &[], None).expect(200);
    let stopped_after = last_request(&mut events, "/moved", begun);

    api.send("POST", &format!("{path}/activate"), &[], None).expect(200);
    let before = requests(&stage, "/moved");
    events.until(begun, "it goes on", || requests(&stage, "/moved") > before);
    let begun = Instant::now();
    api.send("DELETE", &path, &[("if-match", "*")], None).expect(204);
    let deleted_after = last_request(&mut events, "/moved", begun);
    for (what, after) in [
        ("create", created_after),
        ("edit", moved_after),
        ("edit, the old URL", stopped_old),
        ("deactivate", stopped_after),
        ("delete", deleted_after),
    ] {
        eprintln!("{what}: in effect after {} ms", after.as_millis());
        assert!(after < SOON, "{what} took {after:?}");
    }
    for service in services {
        service.stop();
    }
}

/// When, after that moment, the last request came, seen over the time that it may take and half as much again.
fn last_request(events: &mut Events, path: &str, begun: Instant) -> Duration {
    let (mut seen, mut last) = (requests(events.stage, path), Duration::ZERO);
    while begun.elapsed() < SOON + SOON / 2 {
        events.for_as_long_as(PACE);
        let now = requests(events.stage, path);
        if now != seen {
            (seen, last) = (now, begun.elapsed());
        }
    }
    last
}

#[test]
fn ten_thousand_connections_are_listed_and_searched_at_once() {
    let Some(stage) = Stage::new("prompt-many", ADMIN) else { return };
    stage.put_all((0..MANY).map(|number| (format!("whc_{number:05}"), json!({}))));
    let service = stage.serve();
    let api = Api::of(&service);
    let first = api.get(&connections()).expect(200).json();
    assert_eq!(first["total"], MANY);
    let cursor = first["next_cursor"].as_str().unwrap();
    let browser = Browser::signed_in(service.admin(), &service.set_up_token());
    let configured = format!("/projects/{PROJECT}/integrations/configured");
    for query in
        [String::new(), format!("?cursor={cursor}"), "?q=whc_098".into(), "?q=nobody".into()]
    {
        let took = quickest(|| drop(api.get(&format!("{}{query}", connections())).expect(200)));
        let page_took =
            quickest(|| drop(browser.open(&format!("{configured}{query}")).expect(200)));
        eprintln!("{query:?}: {} ms, as a page {} ms", took.as_millis(), page_took.as_millis());
        assert!(took < AT_ONCE && page_took < AT_ONCE, "{query}: {took:?}, {page_took:?}");
    }
    assert_eq!(found(&api.get(&format!("{}?q=whc_0987", connections()))), 10);
    assert!(browser.open(&format!("{configured}?q=whc_0987")).shows("10 connections"));
    service.stop();
}

fn found(answer: &Answer) -> usize {
    answer.json()["connections"].as_array().map_or(0, Vec::<Value>::len)
}

/// What it takes on a machine that may have other work, too.
fn quickest(ask: impl Fn()) -> Duration {
    let once = || {
        let begun = Instant::now();
        ask();
        begun.elapsed()
    };
    (0..5).map(|_| once()).min().unwrap_or(PATIENCE)
}
