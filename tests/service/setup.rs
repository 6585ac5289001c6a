//! What is refused at the start, and how that reads.

use std::process::Command;

use crate::support::service::PROGRAM;
use crate::support::stage::Stage;
use crate::support::{eventually, within};
use std::time::Duration;

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let output =
        Command::new(PROGRAM).args(arguments).envs(environment.iter().copied()).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn every_fault_of_a_configuration_is_in_one_report() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.toml");
    let text = "[kafka]\nbootstrap_server = \"x\"\n[retry]\nschedule = [\"5x\"]\n[egress]\nallow = [\"10.0.0.0/99\"]\n\
        [delivery]\ntimeout_seconds = \"soon\"\n";
    std::fs::write(&file, text).unwrap();
    let arguments = ["serve", "--config", file.to_str().unwrap()];
    let (code, report) = run(&arguments, &[("BARNABAS_DELIVERY__RATE_PER_SECOND", "0")]);
    assert_eq!(code, Some(78), "{report}");
    for key in [
        "kafka.bootstrap_server",
        "retry.schedule",
        "egress.allow",
        "delivery.timeout_seconds",
        "delivery.rate_per_second",
    ] {
        assert!(report.contains(key), "{key} is missing in:\n{report}");
    }
    assert!(report.contains("did you mean kafka.bootstrap_servers"), "{report}");
}

#[test]
fn wrong_usage_and_an_unreachable_broker_have_codes_of_their_own() {
    assert_eq!(run(&["serve", "--no-such-flag"], &[]).0, Some(2));
    let nobody = [("BARNABAS_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")];
    let (code, report) = run(&["topics", "plan"], &nobody);
    assert_eq!(code, Some(5), "{report}");
    assert!(report.contains("127.0.0.1:1"), "{report}");
}

#[test]
fn without_a_broker_the_service_says_so_lives_and_is_not_ready() {
    let stage = Stage::on("127.0.0.1:1", "nobody", "");
    let service = stage.start();
    within(Duration::from_secs(30), "it says so", || {
        service.log().contains("no broker of 127.0.0.1:1 answered").then_some(())
    });
    assert_eq!(service.get("/livez").0, 200);
    let (code, body) = service.get("/readyz");
    assert_eq!(code, 503, "{body}");
    assert!(body.contains("\"ready\":false"), "{body}");
}

#[test]
fn topics_that_could_lose_data_are_refused() {
    let Some(stage) = Stage::new("unsafe", "") else { return };
    let tool = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kafka/tool");
    let altered = Command::new(tool)
        .args([
            "configs",
            "--bootstrap-server",
            &stage.bootstrap,
            "--alter",
            "--entity-type",
            "topics",
        ])
        .args(["--entity-name", &format!("{}.connections", stage.name)])
        .args(["--add-config", "cleanup.policy=delete"])
        .output()
        .unwrap();
    assert!(altered.status.success());
    let report = eventually("it is refused", || {
        let output = stage.run(&["serve"]);
        (output.status.code() == Some(3)).then(|| String::from_utf8(output.stderr).unwrap())
    });
    assert!(report.contains("cleanup.policy"), "{report}");
    let planned = stage.run(&["topics", "plan"]);
    assert_eq!(planned.status.code(), Some(3));
    assert!(stage.run(&["topics", "create"]).status.success());
    assert!(stage.run(&["topics", "plan"]).status.success());
}

/// What is refused: the topic, what is wrong with it, and how it is mended.
const REFUSALS: [(&str, &str, &str); 7] = [
    ("actions", "retention.ms is 3600000 (1h), wants at least 259200000 (72h)", "kafka-configs.sh"),
    ("actions", "cleanup.policy is compact, wants delete", "kafka-configs.sh"),
    ("connections", "cleanup.policy is delete, wants compact", "run `barnabas topics create`"),
    ("states", "missing", "run `barnabas topics create`"),
    ("retry.300ms", "retention.ms is 60000 (1m)", "run `barnabas topics create`"),
    ("retry.700ms", "retention.bytes is 1000, wants -1", "run `barnabas topics create`"),
    ("dead-letters", "missing", "run `barnabas topics create`"),
];

/// The commands that a report names for the owners of the events topic.
fn commands(report: &str) -> Vec<Vec<&str>> {
    let quoted = report.split('`').skip(1).step_by(2);
    let commands = quoted.filter_map(|text| text.strip_prefix("kafka-configs.sh "));
    commands.map(|rest| rest.split(' ').collect()).collect()
}

#[test]
fn every_refusal_says_how_to_mend_it_and_then_the_service_starts() {
    let Some(stage) = Stage::new("refused", "") else { return };
    let ours = |name: &str| format!("{}.{name}", stage.name);
    let bad_events = [("retention.ms", "3600000"), ("cleanup.policy", "compact")];
    stage.set_topic(&stage.events(), &bad_events);
    stage.set_topic(&ours("connections"), &[("cleanup.policy", "delete")]);
    stage.set_topic(&ours("retry.300ms"), &[("retention.ms", "60000")]);
    stage.set_topic(&ours("retry.700ms"), &[("retention.bytes", "1000")]);
    stage.delete_topic("states");
    stage.delete_topic("dead-letters");
    let output = stage.run(&["serve"]);
    let report = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{report}");
    for (topic, what, mend) in REFUSALS {
        let topic = if topic == "actions" { stage.events() } else { ours(topic) };
        let is_it = |line: &&str| line.trim_start().starts_with(&format!("{topic}: {what}"));
        let line = report.lines().find(is_it);
        let line = line.unwrap_or_else(|| panic!("{topic}: {what} is missing in:\n{report}"));
        assert!(line.contains(mend), "{line}");
    }
    assert_eq!(report.lines().filter(|line| line.starts_with("  ")).count(), REFUSALS.len());
    // What it says is what helps.
    let tool = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kafka/tool");
    let commands = commands(&report);
    assert_eq!(commands.len(), 2, "{report}");
    for arguments in commands {
        let mut command = Command::new(&tool);
        command.args(["configs", "--bootstrap-server", &stage.bootstrap]).args(arguments);
        assert!(command.output().unwrap().status.success());
    }
    assert!(stage.run(&["topics", "create"]).status.success());
    stage.serve().stop();
}

/// What is wrong in a command line, with the code that it ends with and a part of what is said.
const WRONG: [(&str, i32, &str); 26] = [
    ("nonsense", 2, "unrecognized subcommand"),
    ("serve --roles delivr", 2, "deliver"),
    ("serve --config absent.toml", 78, "absent.toml: the file cannot be read"),
    ("demo --seconds 0", 2, "1..=86400"),
    ("check-config -o xml", 2, "table, json"),
    ("topics plann", 2, "'plan'"),
    ("topics create --partitions 0", 2, "1..=10000"),
    ("connections list --project 1", 2, "give --token-file FILE, or set BARNABAS_TOKEN"),
    ("connections list --project 1 --token-file absent", 4, "the token file absent cannot be read"),
    ("connections get --project 1 --token-file {token}", 2, "<ID>"),
    (
        "connections list --project 1 --token-file {token} --api http://127.0.0.1:1",
        5,
        "127.0.0.1:1",
    ),
    ("connections put --project 1 --token-file {token} -f absent.json", 4, "absent.json"),
    ("connections put --project 1 --token-file {token} -f {token}", 1, "is no JSON: see line 1"),
    ("dead-letters redrive --project 1 --token-file {token} --rate 0", 2, "1..=10000"),
    ("dead-letters redrive --project 1 --token-file {token}", 2, "give ids, a filter, or --all"),
    ("listen --status 99", 2, "from 200 to 599"),
    ("listen --latency 5", 2, "such as 250ms or 2s"),
    ("listen --basic xp", 2, "a colon must part user and password"),
    ("trigger --count 0", 2, "a whole number from 1"),
    ("trigger --event message_opn", 2, "it has message_click, message_delivery"),
    ("trigger --channel e-mail", 2, "the catalog has no channel `e-mail`"),
    ("trigger --file absent", 4, "absent"),
    ("schema events", 2, "a similar value exists: 'event'"),
    ("completions tcsh", 2, "bash, elvish, fish"),
    ("tokens list --file absent", 4, "absent"),
    ("keyring list --file absent", 4, "the keyring absent cannot be read"),
];

#[test]
fn what_is_wrong_in_a_command_line_is_said_with_its_code() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "bnb_x.y").unwrap();
    for (line, code, said) in WRONG {
        let line = line.replace("{token}", token.to_str().unwrap());
        let arguments: Vec<_> = line.split_whitespace().collect();
        let output = Command::new(PROGRAM)
            .args(&arguments)
            .current_dir(folder.path())
            // An empty name of a file is none.
            .env("BARNABAS_CONFIG", "")
            .output()
            .unwrap();
        let report = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{line}: {report}");
        assert!(report.contains(said), "{line}: {report}");
        assert!(output.stdout.is_empty(), "{line}: what is wrong is no data");
    }
}
