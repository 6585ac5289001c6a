//! The dashboards: what Grafana needs to import and show them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::exposition::Exposition;
use crate::{deploy, rules};

/// The panels that are used here; Grafana has them all built in.
const PANELS: [&str; 4] = ["timeseries", "stat", "heatmap", "row"];
/// Grafana's grid.
const COLUMNS: u64 = 24;

fn dashboards() -> Vec<(String, Value)> {
    let folder = fs::read_dir(deploy("grafana/dashboards")).unwrap();
    let mut found: Vec<_> = folder
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
            (name, value)
        })
        .collect();
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    found
}

fn panels(dashboard: &Value) -> &[Value] {
    dashboard["panels"].as_array().unwrap()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Every expression of a dashboard: of panels, annotations and variables.
fn expressions(dashboard: &Value) -> Vec<String> {
    let targets =
        panels(dashboard).iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let annotations = dashboard["annotations"]["list"].as_array().unwrap();
    let mut found: Vec<_> = targets
        .chain(annotations)
        .map(|target| target["expr"].as_str().unwrap().to_owned())
        .collect();
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        let query = variable["query"].as_str().unwrap();
        if let Some(inside) = query.strip_prefix("label_values(") {
            found.push(inside.split_once(',').unwrap().0.to_owned());
        }
    }
    found
}

#[test]
fn there_are_five_with_names_of_their_own() {
    let found = dashboards();
    let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "barnabas-delivery",
            "barnabas-kafka",
            "barnabas-overview",
            "barnabas-process",
            "barnabas-retries"
        ]
    );
    for (name, dashboard) in &found {
        assert_eq!(dashboard["uid"], name.as_str(), "a file's name is its uid");
        assert!(name.len() <= 40, "Grafana takes no longer uid");
    }
    let titles: BTreeSet<_> =
        found.iter().map(|(_, dashboard)| &dashboard["title"]).map(Value::to_string).collect();
    assert_eq!(titles.len(), found.len());
}

#[test]
fn each_has_what_grafana_needs() {
    for (name, dashboard) in dashboards() {
        assert!(dashboard["id"].is_null(), "{name}: an id belongs to one Grafana");
        assert!(number(&dashboard["schemaVersion"]) >= 36, "{name}");
        assert!(dashboard["time"]["from"].is_string() && dashboard["time"]["to"].is_string());
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        assert_eq!(variables[0]["type"], "datasource", "{name}: it works with any data source");
        let mut ids = BTreeSet::new();
        for panel in panels(&dashboard) {
            assert!(ids.insert(number(&panel["id"])), "{name}: {panel}");
            check_panel(panel);
        }
    }
}

fn check_panel(panel: &Value) {
    let kind = panel["type"].as_str().unwrap();
    assert!(PANELS.contains(&kind), "{panel}");
    assert!(!panel["title"].as_str().unwrap().is_empty(), "{panel}");
    if kind == "row" {
        return;
    }
    assert!(!panel["description"].as_str().unwrap().is_empty(), "{panel}");
    assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel}");
    assert!(panel["fieldConfig"]["defaults"].is_object() && panel["options"].is_object());
    let mut references = BTreeSet::new();
    let targets = panel["targets"].as_array().unwrap();
    assert!(!targets.is_empty(), "{panel}");
    for target in targets {
        assert!(references.insert(target["refId"].as_str().unwrap()), "{panel}");
        assert_eq!(target["datasource"]["uid"], "${datasource}", "{panel}");
    }
}

#[test]
fn no_panel_lies_over_another() {
    for (name, dashboard) in dashboards() {
        let mut taken = BTreeSet::new();
        for panel in panels(&dashboard) {
            let place = &panel["gridPos"];
            let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| number(&place[key]));
            assert!(x + w <= COLUMNS, "{name}: {} is too far right", panel["title"]);
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(taken.insert(cell), "{name}: {} lies over another", panel["title"]);
            }
        }
    }
}

#[test]
fn panels_speak_of_metrics_that_the_service_shows() {
    let exposition = Exposition::read();
    for (name, dashboard) in dashboards() {
        for expression in expressions(&dashboard) {
            let unknown = exposition.unknown_in(&expression, &rules::recorded());
            assert!(unknown.is_empty(), "{name}: {unknown:?} in {expression}");
        }
    }
}

/// CI hands the file to promtool, which knows the language.
#[test]
fn expressions_are_written_down_for_promtool() {
    let mut file = "groups:\n  - name: dashboards\n    rules:\n".to_owned();
    let all: Vec<_> = dashboards().iter().flat_map(|(_, one)| expressions(one)).collect();
    assert!(all.len() > 60);
    for (number, expression) in all.iter().enumerate() {
        let expression = expression
            .replace("$__rate_interval", "5m")
            .replace("$job", "x")
            .replace("$connection", "x");
        assert!(!expression.contains('$'), "{expression}");
        let quoted = Value::from(expression);
        writeln!(file, "      - {{record: \"dashboard:{number}\", expr: {quoted}}}").unwrap();
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder");
    fs::write(target.join("dashboards.rules.yaml"), file).unwrap();
}
