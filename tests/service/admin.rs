//! The admin API and its commands: what is changed there takes effect, and nothing is changed by accident.

use std::fs;
use std::process::{Command, Output};

use barnabas::demo::receiver::{Behaviour, Credentials};
use serde_json::{Value, json};

use crate::support::api::{Api, connections, one};
use crate::support::service::{PROGRAM, Service};
use crate::support::stage::{PROJECT, Stage};
use crate::support::{PATIENCE, eventually};

const ADMIN: &str = "[admin]\nlisten = \"127.0.0.1:0\"\n";
/// One of each kind that the address rule refuses.
const BAD_URLS: [&str; 19] = [
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f.1/",
    "https://[::1]/",
    "https://10.0.0.1/",
    "https://[::ffff:127.0.0.2]/",
    "https://localhost/",
    "https://metadata.google.internal/",
    "https://kafka/",
    "https://user:pass@example.com/",
    "https://example.com\\@127.0.0.1/",
    "https:127.0.0.1",
    "https://example.com:22/",
    "https://exam\tple.com/",
    "https://127。0。0。1/",
    "https://169.254.169.254/latest/meta-data",
    "//127.0.0.1/",
    "file:///etc/passwd",
    "https://{host}/",
];
/// Stands in every secret, and must never be answered or logged.
const CANARY: &str = "canary7f3a";

fn wanted(stage: &Stage, name: &str) -> Value {
    stage.receiver.set_behaviour(&format!("/{name}"), Behaviour::Healthy);
    let password = format!("{CANARY}-{name}");
    stage.receiver.set_credentials(&format!("/{name}"), &Credentials::basic("xp", &password));
    json!({
        "name": name, "url": stage.receiver.url(&format!("/{name}")),
        "auth": {"type": "basic", "username": "xp", "password": password},
        "events": ["message_open"], "channels": ["email"],
    })
}

fn with(body: &Value, place: &str, value: Value) -> Value {
    let mut body = body.clone();
    let (parent, key) = place.rsplit_once('/').unwrap();
    body.pointer_mut(parent).unwrap()[key] = value;
    body
}

fn start(test: &str) -> Option<(Stage, Service, Api)> {
    let stage = Stage::new(test, ADMIN)?;
    let service = stage.serve();
    let api = Api::of(&service);
    Some((stage, service, api))
}

fn id_of(answer: &Value) -> String {
    answer["connection_id"].as_str().unwrap().to_owned()
}

#[test]
fn a_connection_is_made_and_edited() {
    let Some((stage, service, api)) = start("admin-edit") else { return };
    let body = wanted(&stage, "crm");
    let created = api.create(&body).expect(201);
    let id = id_of(&created.json());
    assert_eq!(created.header("location"), one(&id));
    assert_eq!(created.header("etag"), "\"1\"");
    assert_eq!(created.json()["updated_by"], "token:set-up");
    assert_eq!(created.json()["auth"]["has_secret"], true);
    assert!(created.json()["auth"]["secret_set_at"].is_u64());
    stage.produce(0..3);
    stage.receiver.wait_for("/crm", 3, PATIENCE).unwrap();

    // The secret is left out: it stays. What was read may be sent back.
    let mut edited =
        with(&api.get(&one(&id)).expect(200).json(), "/name", json!("CRM suppression"));
    edited["url"] = json!(stage.receiver.url("/moved"));
    stage.receiver.set_behaviour("/moved", Behaviour::Healthy);
    stage.receiver.set_credentials("/moved", &Credentials::basic("xp", &format!("{CANARY}-crm")));
    let edit = api.send("PUT", &one(&id), &[("if-match", "\"1\"")], Some(&edited)).expect(200);
    assert_eq!(
        (edit.header("etag"), edit.json()["name"].as_str()),
        ("\"2\"", Some("CRM suppression"))
    );
    stage.produce(3..6);
    stage.receiver.wait_for("/moved", 3, PATIENCE).unwrap();
    assert_eq!(stage.receiver.counts("/moved").failed, 0);

    let stale = api.send("PUT", &one(&id), &[("if-match", "\"1\"")], Some(&edited)).expect(412);
    assert!(stale.json()["detail"].as_str().unwrap().contains("revision 2"));
    api.send("PUT", &one(&id), &[], Some(&edited)).expect(428);
    let same = api.send("PUT", &one(&id), &[("if-match", "\"2\"")], Some(&edited)).expect(200);
    assert_eq!(same.header("etag"), "\"2\"", "nothing was to be changed");
    assert!(!api.seen().contains(CANARY) && !service.log().contains(CANARY));
    service.stop();
}

#[test]
fn a_connection_is_stopped_and_deleted_and_each_change_is_audited() {
    let Some((stage, service, api)) = start("admin-life") else { return };
    let body = wanted(&stage, "crm");
    let id = id_of(&api.create(&body).expect(201).json());
    let renamed = with(&body, "/name", json!("CRM suppression"));
    api.send("PUT", &one(&id), &[("if-match", "\"1\"")], Some(&renamed)).expect(200);
    stage.produce(0..3);
    stage.receiver.wait_for("/crm", 3, PATIENCE).unwrap();

    let stopped = api.send("POST", &format!("{}/deactivate", one(&id)), &[], None).expect(200);
    assert_eq!(stopped.json()["effective_status"], "inactive");
    assert_eq!(stopped.json()["reason"], "user");
    let started = api.send("POST", &format!("{}/activate", one(&id)), &[], None).expect(200);
    assert_eq!(started.json()["effective_status"], "active");
    assert_eq!(started.header("etag"), "\"4\"");

    api.send("DELETE", &one(&id), &[("if-match", "\"3\"")], None).expect(412);
    api.send("DELETE", &one(&id), &[], None).expect(428);
    api.send("DELETE", &one(&id), &[("if-match", "\"4\"")], None).expect(204);
    api.get(&one(&id)).expect(404);
    stage.produce(3..6);
    eventually("the events are skipped", || {
        (service.metric("barnabas_events_unmatched_total", "") >= 3.0).then_some(())
    });
    assert_eq!(stage.receiver.counts("/crm").requests, 3);

    let audited: Vec<Value> = stage.audit();
    let actions: Vec<_> = audited.iter().map(|record| record["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["create", "update", "deactivate", "activate", "delete"]);
    assert_eq!(audited[1]["changed"], json!(["auth.password", "name"]));
    assert!(
        audited
            .iter()
            .all(|record| record["who"] == "token:set-up" && record["connection_id"] == id)
    );
    assert!(!format!("{audited:?}").contains(CANARY));
    assert!(!api.seen().contains(CANARY) && !service.log().contains(CANARY));
    service.stop();
}

/// Where something is wrong, what, and where the answer has to point.
fn bad_fields() -> Vec<(&'static str, Value, Vec<&'static str>)> {
    vec![
        ("/name", json!(" "), vec!["/name"]),
        ("/url", json!("http://example.com/"), vec!["/url"]),
        ("/auth/username", json!("a:b"), vec!["/auth/username"]),
        ("/auth/password", json!({"sealed": "v1.k.x"}), vec!["/auth/password"]),
        ("/auth/password", json!(""), vec!["/auth/password"]),
        ("/auth/type", json!("digest"), vec!["/auth/type"]),
        ("/auth/secret", json!("x"), vec!["/auth/secret"]),
        ("/events", json!([]), vec!["/events"]),
        ("/channels", json!(["fax"]), vec!["/channels"]),
        (
            "/delivery",
            json!({"burst": 0, "max_in_flight": 501}),
            vec!["/delivery/burst", "/delivery/max_in_flight"],
        ),
        ("/colour", json!("red"), vec!["/colour"]),
        ("/status", json!("paused"), vec!["/status"]),
    ]
}

#[test]
fn what_breaks_a_rule_is_pointed_at_and_not_written() {
    let Some((stage, service, api)) = start("admin-rules") else { return };
    let good = wanted(&stage, "rules");
    for (place, value, pointers) in bad_fields() {
        let answer = api.create(&with(&good, place, value)).expect(422);
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.pointers(), pointers, "{}", answer.body);
    }
    for url in BAD_URLS {
        let answer = api.create(&with(&good, "/url", json!(url))).expect(422);
        assert_eq!(answer.pointers(), ["/url"], "{url}: {}", answer.body);
    }
    let page = api.get(&connections()).expect(200).json();
    assert_eq!(page["total"], 0);
    assert_eq!(stage.audit(), Vec::<Value>::new());
    assert!(!api.seen().contains(CANARY));
    service.stop();
}

#[test]
fn a_name_a_secret_and_a_repetition_are_what_they_were() {
    let Some((stage, service, api)) = start("admin-kept") else { return };
    let good = wanted(&stage, "rules");
    let id = id_of(&api.create(&good).expect(201).json());
    let taken = api.create(&good).expect(409);
    assert_eq!(taken.pointers(), ["/name"]);
    let port = stage.receiver.address().port();
    let elsewhere = with(&good, "/url", json!(format!("https://hooks.example.com:{port}/")));
    let elsewhere = with(&elsewhere, "/auth", json!({"type": "basic", "username": "xp"}));
    let put = |body: &Value| api.send("PUT", &one(&id), &[("if-match", "*")], Some(body));
    let refused = put(&elsewhere).expect(422);
    assert_eq!(refused.pointers(), ["/auth/password"]);
    assert!(refused.body.contains("enter the secret again"), "{}", refused.body);
    let kept = with(&good, "/auth", json!({"type": "bearer"}));
    assert_eq!(put(&kept).expect(422).pointers(), ["/auth/token"]);
    let key = [("idempotency-key", "order-7")];
    let other = with(&good, "/name", json!("other"));
    let first = api.send("POST", &connections(), &key, Some(&other)).expect(201).json();
    let again = api.send("POST", &connections(), &key, Some(&other)).expect(200).json();
    assert_eq!(id_of(&first), id_of(&again));
    assert_eq!(api.get(&format!("{}?q=OTH&status=active", connections())).json()["total"], 1);
    assert!(!api.seen().contains(CANARY));
    service.stop();
}

#[test]
fn two_instances_agree_and_lose_no_edit() {
    let Some((stage, one_service, first)) = start("admin-two") else { return };
    let other_service = stage.serve();
    let second = Api::of(&other_service);
    let body = wanted(&stage, "shared");
    let id = id_of(&first.create(&body).expect(201).json());
    eventually("the other shows it", || (second.get(&one(&id)).status == 200).then_some(()));

    // Both edit the same revision again and again: one wins each time, and the other is told.
    let apis = [first, second];
    for round in 0..5 {
        let revision = round + 1;
        let etag = format!("\"{revision}\"");
        let edit = |number: usize| {
            let name = format!("round {round} by {number}");
            let body = with(&body, "/name", json!(name));
            apis[number].send("PUT", &one(&id), &[("if-match", &etag)], Some(&body)).status
        };
        let statuses = std::thread::scope(|scope| {
            [0, 1]
                .map(|number| scope.spawn(move || edit_until_told(&edit, number)))
                .map(|thread| thread.join().unwrap())
        });
        assert!(statuses == [200, 412] || statuses == [412, 200], "{statuses:?}");
        let winner = usize::from(statuses[1] == 200);
        for api in &apis {
            let name = eventually("both show the edit", || {
                let answer = api.get(&one(&id)).json();
                (answer["revision"] == revision + 1).then(|| answer["name"].clone())
            });
            assert_eq!(name, format!("round {round} by {winner}"));
        }
    }

    // The same name at the same time: one connection.
    let body = wanted(&stage, "unique");
    let statuses = std::thread::scope(|scope| {
        [0, 1]
            .map(|number| {
                let create = |number: usize| apis[number].create(&body).status;
                scope.spawn(move || edit_until_told(&create, number))
            })
            .map(|thread| thread.join().unwrap())
    });
    assert!(statuses == [201, 409] || statuses == [409, 201], "{statuses:?}");
    one_service.stop();
    other_service.stop();
}

/// A busy machine may make an instance give up its turn: then it says so, and nothing was changed.
fn edit_until_told(edit: &dyn Fn(usize) -> u16, number: usize) -> u16 {
    eventually("the change is decided", || Some(edit(number)).filter(|status| *status != 503))
}

#[test]
fn a_change_that_cannot_be_audited_is_refused() {
    let Some((stage, service, api)) = start("admin-audit") else { return };
    stage.delete_topic("audit");
    let refused = api.create(&wanted(&stage, "unseen")).expect(503);
    assert!(refused.json()["detail"].as_str().unwrap().contains("audit"), "{}", refused.body);
    assert_eq!(api.get(&connections()).json()["total"], 0);
    service.stop();
    let reader = stage.serve();
    assert_eq!(
        Api::of(&reader).get(&connections()).json()["total"],
        0,
        "nor is it after a restart"
    );
    reader.stop();
}

fn command(api: &Api, token: &str, arguments: &[&str]) -> Output {
    Command::new(PROGRAM)
        .arg("connections")
        .args(arguments)
        .args(["--api", api.base(), "--project", PROJECT, "-o", "json"])
        .env("BARNABAS_TOKEN", token)
        .output()
        .unwrap()
}

fn printed(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_commands_do_what_the_api_does_with_tokens_from_a_file() {
    let Some(stage) = Stage::new("admin-commands", "") else { return };
    let tokens = stage.folder().join("tokens.json");
    let tokens = tokens.to_str().unwrap();
    let make = |id: &str, role: &str| {
        let made = Command::new(PROGRAM)
            .args(["tokens", "new", id, "--role", role, "--project", PROJECT, "--file", tokens])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    };
    let (ops, looks) = (make("ops", "operator"), make("looks", "viewer"));
    let stage = stage.with(&format!("{ADMIN}tokens_file = \"{tokens}\"\n"));
    let service = stage.serve();
    assert!(!service.log().contains("set-up token"));
    let api = Api::with_token(service.admin(), &ops);

    let file = stage.folder().join("crm.json");
    let put = |body: &Value| {
        fs::write(&file, body.to_string()).unwrap();
        command(&api, &ops, &["put", "-f", file.to_str().unwrap()])
    };
    let mut body = wanted(&stage, "crm");
    let made = printed(&put(&body));
    let id = id_of(&made);
    body["auth"] = json!({"type": "basic", "username": "xp"});
    let again = printed(&put(&body));
    assert_eq!((id_of(&again), again["revision"].as_u64()), (id.clone(), Some(1)));
    body["channels"] = json!(["email", "sms"]);
    assert_eq!(printed(&put(&body))["revision"], 2);
    let got = printed(&command(&api, &looks, &["get", &id]));
    assert_eq!(got["updated_by"], "token:ops");
    assert_eq!(
        printed(&command(&api, &looks, &["list", "--status", "active"]))["connections"][0]["connection_id"],
        id
    );
    assert_eq!(printed(&command(&api, &ops, &["deactivate", &id]))["effective_status"], "inactive");
    assert_eq!(printed(&command(&api, &ops, &["activate", &id]))["effective_status"], "active");

    let code = |output: Output| output.status.code();
    assert_eq!(code(command(&api, &looks, &["delete", &id, "--yes"])), Some(1));
    assert_eq!(code(command(&api, &ops, &["delete", &id])), Some(2), "nobody is there to confirm");
    assert_eq!(code(command(&api, &ops, &["delete", &id, "--yes"])), Some(0));
    assert_eq!(code(command(&api, &ops, &["get", &id])), Some(4));
    body["url"] = json!("http://example.com/");
    let refused = put(&body);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("/url: ") && refused.status.code() == Some(1), "{said}");

    // Revoked is revoked, within seconds and without a restart.
    let revoked =
        Command::new(PROGRAM).args(["tokens", "revoke", "ops", "--file", tokens]).status();
    assert!(revoked.unwrap().success());
    eventually("the token is refused", || (api.get("/api/v1/me").status == 401).then_some(()));
    service.stop();
    assert_eq!(code(command(&api, &looks, &["list"])), Some(5));
}

#[test]
fn what_others_wrote_is_shown_with_its_faults_and_can_be_mended() {
    let Some(stage) = Stage::new("admin-broken", ADMIN) else { return };
    stage.put("broken", json!({"url": "http://x/", "revision": 5, "name": ""}));
    stage.connect("fine", json!({}));
    stage.connect("gone", json!({}));
    stage.receiver.set_behaviour("/gone", Behaviour::status(http::StatusCode::GONE));
    let service = stage.serve();
    let api = Api::of(&service);
    let broken = api.get(&one("broken")).expect(200);
    assert_eq!(
        (broken.json()["effective_status"].clone(), broken.header("etag")),
        (json!("unreadable"), "\"5\"")
    );
    let pointers: Vec<_> =
        broken.json()["faults"].as_array().unwrap().iter().map(|f| f["pointer"].clone()).collect();
    assert_eq!(pointers, ["/name", "/url"]);
    assert!(!broken.body.contains("t0ken"));
    api.send("POST", &format!("{}/deactivate", one("broken")), &[], None).expect(409);
    let body = wanted(&stage, "broken");
    let mended = api.send("PUT", &one("broken"), &[("if-match", "\"5\"")], Some(&body)).expect(200);
    assert_eq!(
        (mended.json()["effective_status"].clone(), mended.header("etag")),
        (json!("active"), "\"6\"")
    );

    stage.produce(0..1);
    stage.receiver.wait_for("/fine", 1, PATIENCE).unwrap();
    let gone = eventually("the service has stopped it", || {
        let answer = api.get(&one("gone")).json();
        (answer["effective_status"] == "inactive").then_some(answer)
    });
    assert_eq!((gone["status"].clone(), gone["reason"].clone()), (json!("active"), json!("gone")));
    stage.receiver.set_behaviour("/gone", Behaviour::Healthy);
    let again = api.send("POST", &format!("{}/activate", one("gone")), &[], None).expect(200);
    assert_eq!(
        (again.json()["effective_status"].clone(), again.json()["revision"].clone()),
        (json!("active"), json!(2))
    );

    // The tombstone stands where the record stood: it is gone for those who start later, too.
    api.send("DELETE", &one("fine"), &[("if-match", "*")], None).expect(204);
    service.stop();
    let later = stage.serve();
    let api = Api::of(&later);
    api.get(&one("fine")).expect(404);
    api.get(&one("broken")).expect(200);
    later.stop();
}
