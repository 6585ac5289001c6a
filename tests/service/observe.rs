//! What an operator sees: the exposition of a service that has worked.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use barnabas::demo::receiver::Behaviour;
use serde_json::json;

use crate::support::eventually;
use crate::support::stage::Stage;

/// The exposition with names that do not change from run to run, without values, and of each topic's partitions one.
fn families(exposition: &str, stage: &Stage) -> String {
    let series = |line: &str| match line.rsplit_once(' ') {
        Some((series, _)) if !line.starts_with('#') => series.to_owned(),
        _ => line.to_owned(),
    };
    exposition
        .replace(&stage.name, "NAME")
        .replace(env!("CARGO_PKG_VERSION"), "VERSION")
        .lines()
        .filter(|line| !line.contains("partition=") || line.contains("partition=\"0\""))
        .filter(|line| !line.contains("_bucket{"))
        .map(series)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_exposition_is_what_dashboards_and_rules_rely_on() {
    let settings = "[telemetry]\nconnections = [\"4172/all\"]\n";
    let Some(stage) = Stage::new("observe", settings) else { return };
    stage.connect("all", json!({}));
    stage.connect("gone", json!({}));
    stage.receiver.set_behaviour("/gone", Behaviour::status(reqwest::StatusCode::GONE));
    let service = stage.serve();
    stage.produce(0..20);
    stage.produce_raw(Some(b"no event"));
    let shown = eventually("everything was counted and the lag is known", || {
        let (_, text) = service.get("/metrics");
        let is_counted = text.contains("barnabas_dead_letters_total{reason=\"malformed_event\"} 1")
            && text.contains("barnabas_deactivations_total{reason=\"gone\"} 1")
            && text.contains("barnabas_connection_deliveries_total{connection=\"4172/all\",outcome=\"delivered\"} 20");
        let lag = format!("barnabas_kafka_lag_seconds{{topic=\"{}\"}} 0", stage.events());
        let tiers = text.matches("barnabas_kafka_lag_records").count() == 4 * 4 + 2;
        (is_counted && tiers && text.contains(&lag)).then_some(text)
    });
    // CI hands it to promtool.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder");
    fs::write(target.join("exposition.txt"), &shown).unwrap();
    let series: BTreeSet<_> = shown.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(series.len(), shown.lines().filter(|line| !line.starts_with('#')).count());
    insta::assert_snapshot!(families(&shown, &stage));
    service.stop();
}
