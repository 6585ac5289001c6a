//! Sealed credentials: keys that change under load, keys that are missing, and the commands.

use std::os::unix::fs::PermissionsExt;
use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use barnabas::demo::receiver::Credentials;
use serde_json::{Value, json};

use crate::support::keys::Keys;
use crate::support::log::Log;
use crate::support::service::Service;
use crate::support::stage::{PROJECT, Stage};
use crate::support::{PATIENCE, eventually};

/// Between two events of a steady stream.
const PACE: Duration = Duration::from_millis(10);

/// Ends a stream, also where the test fails: nobody waits for it for ever.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn bearer(token: &Value) -> Value {
    json!({"auth": {"type": "bearer", "token": token}})
}

fn rewrap(stage: &Stage, flags: &[&str]) -> (Output, Value) {
    let output = stage.run(&[&["connections", "rewrap", "-o", "json"], flags].concat());
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {}", String::from_utf8_lossy(&output.stderr));
    });
    (output, report)
}

/// The report's counts of a key, before and after.
fn counts(report: &Value, key: &str) -> (u64, u64) {
    let rows = report["keys"].as_array().unwrap();
    let row = rows.iter().find(|row| row["key"] == key).unwrap_or_else(|| panic!("{report:#}"));
    (row["before"].as_u64().unwrap(), row["after"].as_u64().unwrap())
}

fn taken_over(service: &Service, changes: f64) {
    eventually("the service has taken over the keyring", || {
        (service.metric("barnabas_keyring_reloads_total", "changed") >= changes).then_some(())
    });
}

#[test]
fn keys_change_under_load_and_no_delivery_is_lost() {
    let keys = Keys::new();
    let settings = format!("[connections]\nplaintext_secrets = \"reject\"\n{}", keys.settings());
    let Some(stage) = Stage::new("rotation", &settings) else { return };
    let old = keys.primary();
    stage.connect("c", bearer(&keys.seal(&stage, "c", "s3cret")));
    stage.receiver.set_credentials("/c", &Credentials::bearer("s3cret"));
    let service = stage.serve();
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                stage.send(sent.fetch_add(1, Ordering::Relaxed));
                thread::park_timeout(PACE);
            }
        });
        let _stop = StopOnDrop(&stop);
        let more = || {
            let requests = stage.receiver.counts("/c").requests + 50;
            stage.receiver.wait_for("/c", requests, PATIENCE).unwrap();
        };
        more();
        let new = keys.change(&["add"])["added"].as_str().unwrap().to_owned();
        taken_over(&service, 1.0);
        keys.change(&["primary", &new]);
        taken_over(&service, 2.0);
        let (output, report) = rewrap(&stage, &[]);
        assert!(output.status.success());
        assert_eq!((counts(&report, &old), counts(&report, &new)), ((1, 0), (0, 1)), "{report:#}");
        keys.change(&["remove", &old]);
        taken_over(&service, 3.0);
        more();
    });
    stage.produce(std::iter::empty());
    let sent = sent.load(Ordering::Relaxed);
    stage.receiver.wait_for("/c", sent, PATIENCE).unwrap();
    service.stop();
    // A new instance knows nothing but the new key and the topic.
    let service = stage.serve();
    stage.produce(sent..sent + 20);
    stage.receiver.wait_for("/c", sent + 20, PATIENCE).unwrap();
    service.stop();
    let receipts = stage.receiver.receipts("/c");
    let wrong = receipts.iter().filter(|one| one.authorization.as_deref() != Some("Bearer s3cret"));
    assert_eq!((receipts.len() as u64, wrong.count()), (sent + 20, 0));
    assert!(stage.dead_letters().read().is_empty());
}

#[test]
fn a_sealed_connection_without_its_key_defers_its_events_until_the_key_is_there() {
    let keys = Keys::new();
    let newer = keys.copy();
    let key = newer.rotate();
    // The first tier is taken again and again, until the whole schedule's time is over.
    let settings = format!("[retry]\nschedule = [\"300ms\", \"10m\"]\n{}", keys.settings());
    let Some(stage) = Stage::new("missing-key", &settings) else { return };
    stage.connect("c", bearer(&newer.seal(&stage, "c", "s3cret")));
    stage.receiver.set_credentials("/c", &Credentials::bearer("s3cret"));
    let service = stage.serve();
    assert_eq!(service.metric("barnabas_connections", "unreadable"), 1.0);
    assert!(service.log().contains(&format!("sealed with the key {key}")), "{}", service.log());
    stage.produce(0..20);
    let mut tier = stage.tier("300ms");
    eventually("its events wait in the tier", || (tier.read().len() >= 20).then_some(()));
    assert_eq!(stage.receiver.counts("/c").requests, 0);

    std::fs::write(keys.path(), "{").unwrap();
    eventually("a broken keyring is refused", || {
        (service.metric("barnabas_keyring_reloads_total", "refused") >= 1.0).then_some(())
    });
    std::fs::rename(newer.path(), keys.path()).unwrap();
    stage.receiver.wait_for("/c", 20, PATIENCE).unwrap();
    assert_eq!(service.metric("barnabas_connections", "unreadable"), 0.0);
    service.stop();
    let receipts = stage.receiver.receipts("/c");
    assert_eq!(receipts.len(), 20);
    for receipt in receipts {
        assert_eq!(receipt.authorization.as_deref(), Some("Bearer s3cret"));
        assert_eq!(receipt.webhook_attempt.as_deref(), Some("1"), "waiting is no attempt");
    }
    assert!(stage.dead_letters().read().is_empty());
}

#[test]
fn a_rewrap_seals_what_it_can_and_tells_the_rest() {
    let keys = Keys::new();
    let Some(stage) = Stage::new("rewrap", &keys.settings()) else { return };
    let old = keys.primary();
    let auth = |id: &str| bearer(&keys.seal(&stage, id, "t0ken"));
    let with = |mut record: Value, field: &str, value: Value| {
        record[field] = value;
        record
    };
    stage.put("old", auth("old"));
    stage.put("plain", json!({}));
    stage.put("moved", with(auth("moved"), "url", json!("https://elsewhere.example.com/")));
    stage.put("overtaken", with(auth("overtaken"), "revision", json!(8)));
    stage.put("overtaken", with(auth("overtaken"), "revision", json!(7)));
    stage.put("deleted", auth("deleted"));
    stage.delete("deleted");
    let new = keys.rotate();
    stage.put("new", auth("new"));
    let mut log = Log::open(&stage.bootstrap, &stage.connections());
    let written = log.read().len();

    let (output, report) = rewrap(&stage, &["--dry-run", "--seal-plaintext"]);
    assert_eq!((output.status.code(), &report["written"]), (Some(3), &json!(3)), "{report:#}");
    assert_eq!((counts(&report, &old), counts(&report, &new)), ((3, 3), (1, 1)));
    assert_eq!(log.read().len(), written, "a dry run writes nothing");

    let (output, report) = rewrap(&stage, &["--seal-plaintext"]);
    assert_eq!((output.status.code(), &report["written"]), (Some(3), &json!(3)), "{report:#}");
    assert_eq!((counts(&report, &old), counts(&report, &new)), ((3, 1), (1, 4)));
    assert_eq!(report["plain_text"], json!({"before": 1, "after": 0}));
    assert_eq!(report["faults"][0]["connection"], format!("{PROJECT}/moved"));
    let entries = log.read().to_vec();
    assert_eq!(entries.len(), written + 3);
    let newest = |id: &str| -> Value {
        let key = format!("{PROJECT}/{id}");
        let entry = entries.iter().rfind(|entry| entry.key.as_ref() == Some(&key)).unwrap();
        assert_eq!(entry.header("x-source"), "campaign", "headers are kept");
        serde_json::from_slice(&entry.value).unwrap_or_default()
    };
    assert_eq!(newest("overtaken")["revision"], 8, "the newest revision is the last record");
    assert_eq!(newest("deleted"), Value::Null);
    for id in ["old", "plain", "overtaken", "new"] {
        let sealed = newest(id)["auth"]["token"]["sealed"].as_str().unwrap().to_owned();
        assert!(sealed.starts_with(&format!("v1.{new}.")), "{id}: {sealed}");
    }
}

#[test]
fn a_key_that_nothing_needs_may_be_removed() {
    let keys = Keys::new();
    let Some(stage) = Stage::new("removable", &keys.settings()) else { return };
    let old = keys.primary();
    stage.put("c", bearer(&keys.seal(&stage, "c", "t0ken")));
    keys.rotate();
    let removable = |flags: &[&str]| {
        let (_, report) = rewrap(&stage, flags);
        report["keys"].as_array().unwrap().iter().any(|row| row["removable"] == true)
    };
    assert!(!removable(&["--dry-run"]));
    assert!(removable(&[]));
    let table = String::from_utf8(stage.run(&["connections", "rewrap"]).stdout).unwrap();
    assert!(table.contains(&format!("barnabas keyring remove {old}")), "{table}");
}

#[test]
fn an_edit_while_a_rewrap_runs_is_not_lost() {
    let keys = Keys::new();
    let Some(stage) = Stage::new("edits", &keys.settings()) else { return };
    let older = keys.copy();
    // As somebody writes who has not seen the new key yet.
    let edit = |revision: u64| {
        let auth = json!({"type": "bearer", "token": older.seal(&stage, "c", "t0ken")});
        stage.put("c", json!({"revision": revision, "auth": auth}));
    };
    edit(1);
    let new = keys.rotate();
    let last = 200;
    thread::scope(|scope| {
        scope.spawn(|| {
            for revision in 2..=last {
                edit(revision);
                thread::park_timeout(PACE);
            }
        });
        // It may well give up before the edits end; the next one says what it has left.
        stage.run(&["connections", "rewrap"]);
    });
    let (output, report) = rewrap(&stage, &[]);
    assert_eq!((output.status.code(), counts(&report, &new).1), (Some(0), 1), "{report:#}");
    let mut log = Log::open(&stage.bootstrap, &stage.connections());
    let record: Value = serde_json::from_slice(&log.read().last().unwrap().value).unwrap();
    assert_eq!(record["revision"], last);
    let sealed = record["auth"]["token"]["sealed"].as_str().unwrap();
    assert!(sealed.starts_with(&format!("v1.{new}.")), "{sealed}");
}

#[test]
fn keyrings_are_made_and_changed_by_the_command_line() {
    let keys = Keys::new();
    let mode = std::fs::metadata(keys.path()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let first = keys.primary();
    let again = keys.run(&["new"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("never overwritten"));
    assert_eq!(keys.primary(), first);

    let second = keys.change(&["add"])["added"].as_str().unwrap().to_owned();
    assert_eq!(keys.primary(), first, "a new key opens only");
    assert_eq!(keys.run(&["remove", &first]).status.code(), Some(1), "it seals");
    assert_eq!(keys.run(&["primary", "nobody"]).status.code(), Some(4));
    keys.change(&["primary", &second]);
    keys.change(&["remove", &first]);
    let listed = keys.change(&["list"]);
    assert_eq!(listed["keys"][0]["id"], second);
    assert_eq!(listed["keys"][0]["primary"], true);
    assert!(listed["keys"][0]["created_at"].as_u64().unwrap() > 1_700_000_000);

    let file: Value = serde_json::from_slice(&std::fs::read(keys.path()).unwrap()).unwrap();
    let material = file["keys"][0]["key"].as_str().unwrap().to_owned();
    let text = String::from_utf8(keys.run(&["list"]).stdout).unwrap();
    assert!(text.contains(&second) && text.contains("primary"), "{text}");
    assert!(!text.contains(&material) && !listed.to_string().contains(&material));

    std::fs::set_permissions(keys.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let refused = keys.run(&["list"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("chmod 600"));
}
