//! The rules of Prometheus: what they speak of is shown, and each alert has its page in the runbook.

use std::collections::BTreeSet;

use serde_yaml_ng::Value;

use crate::exposition::Exposition;
use crate::read;

const RUNBOOK: &str = "https://github.com/barnabas-hooks/barnabas/blob/main/deploy/RUNBOOK.md#";

fn rules() -> Vec<Value> {
    let file: Value = serde_yaml_ng::from_str(&read("prometheus/barnabas.rules.yaml")).unwrap();
    let groups = file["groups"].as_sequence().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_sequence().unwrap().clone()).collect()
}

fn text<'a>(rule: &'a Value, key: &str) -> &'a str {
    rule[key].as_str().unwrap_or_else(|| panic!("{key} is missing in {rule:?}"))
}

pub fn recorded() -> BTreeSet<String> {
    rules().iter().filter_map(|rule| Some(rule["record"].as_str()?.to_owned())).collect()
}

/// A heading's anchor, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || *c == '-').collect()
}

#[test]
fn rules_speak_of_metrics_that_the_service_shows() {
    let exposition = Exposition::read();
    for rule in rules() {
        let unknown = exposition.unknown_in(text(&rule, "expr"), &recorded());
        assert!(unknown.is_empty(), "{unknown:?} in {rule:?}");
    }
}

#[test]
fn every_alert_has_its_heading_in_the_runbook_and_every_heading_its_alert() {
    let runbook = read("RUNBOOK.md");
    let headings: BTreeSet<_> =
        runbook.lines().filter_map(|line| line.strip_prefix("## ")).map(anchor).collect();
    let mut linked = BTreeSet::new();
    for alert in rules().iter().filter(|rule| rule["alert"].is_string()) {
        assert!(!text(&alert["annotations"], "summary").is_empty());
        let link = text(&alert["annotations"], "runbook_url").strip_prefix(RUNBOOK);
        let link = link.unwrap_or_else(|| panic!("{alert:?} links elsewhere"));
        assert_eq!(link, anchor(text(alert, "alert")));
        linked.insert(link.to_owned());
    }
    assert_eq!(linked, headings);
}

#[test]
fn links_within_the_runbook_lead_somewhere() {
    let runbook = read("RUNBOOK.md");
    for (place, _) in runbook.match_indices("](#") {
        let link = runbook[place + 3..].split(')').next().unwrap();
        assert!(runbook.lines().any(|line| line.starts_with("## ") && anchor(&line[3..]) == link));
    }
}

/// A page wakes somebody for what is ours; receivers are to blame for these.
#[test]
fn a_receivers_failure_pages_nobody() {
    let theirs = ["attempts_total", "attempt_duration", "breakers", "lanes", "exhausted", "egress"];
    for rule in rules().iter().filter(|rule| rule["alert"].is_string()) {
        let severity = text(&rule["labels"], "severity");
        assert!(["page", "ticket"].contains(&severity), "{rule:?}");
        let blames = theirs.iter().any(|name| text(rule, "expr").contains(name));
        assert!(severity == "ticket" || !blames, "{rule:?}");
        let counts_all_reasons = text(rule, "expr").contains("dead_letters_total[");
        assert!(severity == "ticket" || !counts_all_reasons, "{rule:?}");
    }
}

#[test]
fn every_alert_is_tested_both_ways() {
    let tests: Value = serde_yaml_ng::from_str(&read("prometheus/barnabas.tests.yaml")).unwrap();
    let (mut fires, mut is_quiet) = (BTreeSet::new(), BTreeSet::new());
    for test in tests["tests"].as_sequence().unwrap() {
        for check in test["alert_rule_test"].as_sequence().unwrap() {
            let expected = check["exp_alerts"].as_sequence().unwrap();
            let set = if expected.is_empty() { &mut is_quiet } else { &mut fires };
            set.insert(text(check, "alertname").to_owned());
        }
    }
    let alerts: BTreeSet<_> =
        rules().iter().filter_map(|rule| Some(rule["alert"].as_str()?.to_owned())).collect();
    assert_eq!((fires, is_quiet), (alerts.clone(), alerts));
}
