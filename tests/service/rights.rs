//! Least privilege: the service does its work with the rights that `deploy/README.md` lists and no others, and says
//! what it lacks when one of them is missing.

use std::path::Path;
use std::process::Command;
use std::thread;

use barnabas::demo::receiver::Behaviour;
use reqwest::StatusCode;
use serde_json::json;

use crate::support::api::Api;
use crate::support::kafka::Broker;
use crate::support::service::Service;
use crate::support::stage::Stage;
use crate::support::{PATIENCE, eventually};

const README: &str = include_str!("../../deploy/README.md");

/// Programs that run side by side: a machine with two cores is enough.
const AT_ONCE: usize = 3;

/// A row of the table of rights.
#[derive(Clone, Debug)]
struct Right {
    role: String,
    resource: String,
    name: String,
    pattern: String,
    operation: String,
    /// What is said without it.
    symptom: String,
}

fn rights() -> Vec<Right> {
    let is_right = |line: &&str| line.starts_with("| serve |") || line.starts_with("| admin |");
    let rows = README.lines().filter(is_right).map(|line| line.trim_start_matches('|'));
    let cell = |text: &str| text.trim().trim_matches('`').to_owned();
    let found: Vec<_> = rows
        .map(|row| {
            let cells: Vec<_> = row.trim_end_matches('|').split('|').map(cell).collect();
            let [role, resource, name, pattern, operation, symptom] = cells.try_into().unwrap();
            Right { role, resource, name, pattern, operation, symptom }
        })
        .collect();
    for (role, least) in [("serve", 9), ("admin", 4)] {
        assert!(found.iter().filter(|right| right.role == role).count() >= least, "{role}");
    }
    found
}

/// The login of a case: everything for a role, or everything but one right of that role.
fn login(role: &str, lacks: Option<usize>) -> String {
    lacks.map_or_else(|| format!("{role}-all"), |number| format!("{role}-lacks-{number}"))
}

/// Whether a login is to have a right: what is the admin's, only those have that serve the admin API.
fn has(login: &str, right: &Right, number: usize) -> bool {
    let is_of_role = right.role == "serve" || login.starts_with("admin");
    is_of_role && !login.ends_with(&format!("-lacks-{number}"))
}

fn group(stage: &Stage, login: &str) -> String {
    format!("{}-{login}", stage.name)
}

/// Gives one right to all logins that are to have it.
fn grant(stage: &Stage, number: usize, right: &Right, logins: &[String]) {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kafka/tool");
    let mut command = Command::new(tool);
    command.args(["acls", "--bootstrap-server", &stage.bootstrap, "--add"]);
    command.args(["--operation", &right.operation, "--resource-pattern-type", &right.pattern]);
    for login in logins.iter().filter(|login| has(login, right, number)) {
        command.args(["--allow-principal", &format!("User:{login}")]);
    }
    let own = |name: &str| match name {
        "campaign.actions" => stage.events(),
        ours => ours.replacen("barnabas", &stage.name, 1),
    };
    if right.resource != "group" {
        command.args([&format!("--{}", right.resource), &own(&right.name)]);
    } else {
        // Each case has groups of its own, so that none waits for another's members.
        for login in logins {
            let name = right.name.replacen("barnabas", &group(stage, login), 1);
            command.args(["--group", &name]);
        }
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn serve_as(stage: &Stage, secure: &str, login: &str) -> Service {
    let group = group(stage, login);
    let admin = if login.starts_with("admin") { "127.0.0.1:0" } else { "" };
    stage.start_with(&[
        ("BARNABAS_ADMIN__LISTEN", admin),
        ("BARNABAS_KAFKA__BOOTSTRAP_SERVERS", secure),
        ("BARNABAS_KAFKA__GROUP_ID", &group),
        ("BARNABAS_KAFKA__PROPERTIES__SECURITY_PROTOCOL", "SASL_PLAINTEXT"),
        ("BARNABAS_KAFKA__PROPERTIES__SASL_MECHANISM", "PLAIN"),
        ("BARNABAS_KAFKA__PROPERTIES__SASL_USERNAME", login),
        ("BARNABAS_KAFKA__PROPERTIES__SASL_PASSWORD", login),
    ])
}

/// What the table says in code font of a missing right, with this stage's names.
fn said(stage: &Stage, right: &Right) -> Vec<String> {
    let own = |text: &str| {
        text.replace("campaign.actions", &stage.events()).replace("barnabas", &stage.name)
    };
    let said: Vec<_> = right.symptom.split('`').skip(1).step_by(2).map(own).collect();
    assert!(!said.is_empty(), "{right:?}");
    said
}

fn works_with_all(stage: &Stage, secure: &str) {
    let service = serve_as(stage, secure, &login("serve", None)).ready();
    stage.receiver.wait_for("/healthy", 1, PATIENCE).unwrap();
    eventually("it has written to every topic", || {
        let dead = service.metric("barnabas_dead_letters_total", "");
        let retried = service.metric("barnabas_retries_scheduled_total", "");
        let inactive = service.metric("barnabas_connections{", "\"inactive\"");
        (dead >= 2.0 && retried >= 1.0 && inactive >= 1.0).then_some(())
    });
    let log = service.log();
    for complaint in ["lacks a right", "hidden from", "unreadable", "may not read"] {
        assert!(!log.contains(complaint), "{log}");
    }
    service.stop();
}

/// Makes a connection by the admin API; the status of the answer.
fn change(stage: &Stage, service: &Service, name: &str) -> u16 {
    let api = Api::of(service);
    let draft = json!({
        "name": name, "url": stage.receiver.url("/changed"), "auth": {"type": "bearer", "token": "t0ken"},
        "events": ["message_click"], "channels": ["sms"],
    });
    api.create(&draft).status
}

/// The admin API can make a connection, write that down, and show attempts and dead letters.
fn administers_with_all(stage: &Stage, secure: &str) {
    let service = serve_as(stage, secure, &login("admin", None)).ready();
    assert_eq!(change(stage, &service, "all"), 201, "{}", service.log());
    assert_eq!(stage.audit().len(), 1);
    let followed = || service.log().matches("a log is followed").count();
    eventually("attempts and dead letters are followed", || (followed() == 2).then_some(()));
    let log = service.log();
    for complaint in ["lacks a right", "hidden from", "unreadable", "may not read", "cannot be"] {
        assert!(!log.contains(complaint), "{log}");
    }
    service.stop();
}

fn says_what_it_lacks(stage: &Stage, secure: &str, number: usize, right: &Right) {
    let mut service = serve_as(stage, secure, &login(&right.role, Some(number)));
    if right.role == "admin" {
        service = service.ready();
        let changed = change(stage, &service, &login("admin", Some(number)));
        assert_eq!(changed == 503, right.symptom.contains("503"), "{changed}: {right:?}");
    }
    for text in said(stage, right) {
        eventually(&format!("without {right:?} it says {text}"), || {
            service.log().contains(&text).then_some(())
        });
    }
    if right.symptom.contains("refuses to start") {
        let code = eventually("it has ended", || service.ended());
        assert_eq!(code.code(), Some(3), "{right:?}");
    } else if right.symptom.contains("not ready") || right.symptom.contains("never ready") {
        eventually("it is not ready", || (service.get("/readyz").0 == 503).then_some(()));
    } else {
        service.ready();
    }
}

#[test]
fn it_works_with_the_documented_rights_and_says_which_one_is_missing() {
    let rights = rights();
    let lacking = |(number, right): (usize, &Right)| login(&right.role, Some(number));
    let mut logins: Vec<_> = rights.iter().enumerate().map(lacking).collect();
    logins.extend(["serve", "admin"].map(|role| login(role, None)));
    let Some(broker) = Broker::start(&["--users", &logins.join(",")]) else { return };
    // What fails is not read again while the test lasts.
    let stage = Stage::on(&broker.bootstrap, "rights", "[retry]\nschedule = [\"1h\"]\n");
    stage.create_topics();
    stage.connect("healthy", json!({}));
    for (id, status) in [("failing", StatusCode::BAD_GATEWAY), ("gone", StatusCode::GONE)] {
        stage.connect(id, json!({}));
        stage.receiver.set_behaviour(&format!("/{id}"), Behaviour::status(status));
    }
    stage.produce(0..1);
    stage.produce_raw(Some(b"no event"));
    let (stage, logins, secure) = (&stage, &logins, broker.secure.as_deref().unwrap());
    let numbered: Vec<_> = rights.iter().enumerate().collect();
    for some in numbered.chunks(AT_ONCE) {
        thread::scope(|scope| {
            for &(number, right) in some {
                scope.spawn(move || grant(stage, number, right, logins));
            }
        });
    }
    // Before anybody else: the first to meet the endpoint that is gone deactivates it for all. So the one that lacks
    // the right to write that down comes first.
    for &(number, right) in numbered.iter().filter(|(_, right)| is_deactivation(right)) {
        says_what_it_lacks(stage, secure, number, right);
    }
    works_with_all(stage, secure);
    administers_with_all(stage, secure);
    let others: Vec<_> = numbered.iter().filter(|(_, right)| !is_deactivation(right)).collect();
    for some in others.chunks(AT_ONCE) {
        thread::scope(|scope| {
            for &&(number, right) in some {
                scope.spawn(move || says_what_it_lacks(stage, secure, number, right));
            }
        });
    }
}

fn is_deactivation(right: &Right) -> bool {
    right.name == "barnabas.states" && right.operation == "Write"
}
