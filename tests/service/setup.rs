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
