//! The demo from the outside: one process, a campaign of three seconds, and sums that agree.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Three seconds of campaign, the horizon of the dead endpoint's deliveries, and a busy machine.
const LIMIT: Duration = Duration::from_secs(90);

/// A number that must be there.
fn number(account: &Value, pointer: &str) -> u64 {
    account.pointer(pointer).and_then(Value::as_u64).expect(pointer)
}

fn assert_settled(account: &Value) {
    let settled = number(account, "/delivered")
        + number(account, "/dead_lettered/total")
        + number(account, "/dropped");
    assert_eq!(number(account, "/matched"), settled, "{account:#}");
    assert_eq!(number(account, "/waiting"), 0, "{account:#}");
    assert_eq!(number(account, "/duplicates"), 0, "{account:#}");
}

/// The account of the endpoint whose behaviour begins so.
fn of<'a>(summary: &'a Value, behaviour: &str) -> &'a Value {
    let is_it = |account: &&Value| {
        account["endpoint"].as_str().is_some_and(|text| text.starts_with(behaviour))
    };
    summary["connections"].as_array().into_iter().flatten().find(is_it).expect(behaviour)
}

#[test]
fn three_seconds_of_demo_agree() {
    let started = Instant::now();
    let run = Command::new(env!("CARGO_BIN_EXE_barnabas"))
        .args(["demo", "--seconds", "3", "-o", "json"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let took = started.elapsed();
    let talk = String::from_utf8(run.stderr).unwrap();
    assert_eq!(run.status.code(), Some(0), "{talk}");
    assert!(took < LIMIT, "it took {took:?}");

    let summary: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(summary["disagreements"], json!([]), "{summary:#}");
    assert!(number(&summary, "/written/events") > 300, "{summary:#}");
    summary["connections"].as_array().unwrap().iter().for_each(assert_settled);
    for behaviour in ["healthy", "slow", "flaky", "limit", "429"] {
        assert!(number(of(&summary, behaviour), "/delivered") > 0, "{behaviour}: {talk}");
    }
    for behaviour in ["flaky", "429"] {
        assert!(number(of(&summary, behaviour), "/retried") > 0, "{behaviour}: {talk}");
    }
    let dead = of(&summary, "dead");
    assert_eq!(number(dead, "/delivered"), 0);
    assert!(number(dead, "/dead_lettered/by_reason/exhausted") > 0);
}
