//! The demo from the outside: one process, a campaign of three seconds, and sums that agree.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::thread;
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

/// Signs in as a browser does that was given the link, and counts what the console shows.
fn connections_in_the_console(link: &str) -> u64 {
    let (base, token) = link.split_once("/sign-in#").expect("a link that signs in");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        let client = client.build().unwrap();
        let signed_in = client.post(format!("{base}/session")).json(&json!({"token": token}));
        let answer = signed_in.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        let end = Instant::now() + LIMIT;
        loop {
            let projects = client.get(format!("{base}/projects")).header("cookie", &cookie);
            let page = projects.send().await.unwrap().text().await.unwrap();
            if let Some((_, rest)) = page.split_once("<td class=\"number\">") {
                return rest.split('<').next().unwrap().parse().unwrap();
            }
            assert!(Instant::now() < end, "{page}");
            tokio::task::yield_now().await;
        }
    })
}

#[test]
fn three_seconds_of_demo_agree() {
    let started = Instant::now();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_barnabas"))
        .args(["demo", "--seconds", "3", "-o", "json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stderr.take().unwrap()).lines().map_while(Result::ok);
    let link = lines.find_map(|line| {
        let (_, link) = line.split_once("The console, until the demo ends: ")?;
        Some(link.to_owned())
    });
    let talking = thread::spawn(move || lines.collect::<Vec<_>>().join("\n"));
    assert_eq!(connections_in_the_console(&link.expect("a link to the console")), 6);
    let run = demo.wait_with_output().unwrap();
    let took = started.elapsed();
    let talk = talking.join().unwrap();
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
