//! How the log looks: for machines, and for people at a terminal.

use std::io::Read as _;
use std::process::{Command, Stdio};

use nix::pty::openpty;
use serde_json::Value;

use crate::support::eventually;
use crate::support::service::PROGRAM;
use crate::support::stage::Stage;

/// What is logged on the way to a broker that is not there.
const LAST: &str = "Kafka does not answer";

#[test]
fn away_from_a_terminal_every_line_is_one_json_object() {
    let stage = Stage::on("127.0.0.1:1", "nobody", "");
    let service = stage.start_with(&[("BARNABAS_LOG__FORMAT", "auto")]);
    eventually("it has logged", || service.log().contains(LAST).then_some(()));
    let log = service.log();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    assert!(lines.len() > 1, "{log}");
    for line in &lines {
        for key in ["timestamp", "level", "target"] {
            assert!(line[key].is_string(), "{key} is missing in {line}");
        }
        assert!(line["fields"]["message"].is_string(), "{line}");
    }
    let failed =
        lines.iter().find(|line| line["fields"]["message"].as_str().unwrap().contains(LAST));
    assert_eq!(failed.unwrap()["level"], "ERROR");
}

#[test]
fn on_a_terminal_it_is_text_with_colours() {
    let stage = Stage::on("127.0.0.1:1", "nobody", "");
    let ends = openpty(None, None).unwrap();
    let mut child = Command::new(PROGRAM)
        .args(["serve", "--config"])
        .arg(stage.config())
        .env("BARNABAS_LOG__FORMAT", "auto")
        .env_remove("NO_COLOR")
        .stdout(Stdio::null())
        .stderr(ends.slave)
        .spawn()
        .unwrap();
    let mut screen = std::fs::File::from(ends.master);
    let (mut shown, mut part) = (String::new(), [0; 4096]);
    while !shown.contains(LAST) {
        // Ends with the program, which the time limit of a question to the broker makes say it.
        let count = screen.read(&mut part).unwrap_or(0);
        assert!(count > 0, "it has ended: {shown}");
        shown.push_str(&String::from_utf8_lossy(&part[..count]));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(shown.contains("\u{1b}["), "it has colours: {shown}");
    let is_json = |line: &str| serde_json::from_str::<Value>(line).is_ok();
    assert!(!shown.lines().any(is_json), "{shown}");
}
