//! The names that the service shows, from the snapshot that `tests/service/observe.rs` holds against a running one.

use std::collections::{BTreeMap, BTreeSet};

const SNAPSHOT: &str = include_str!(
    "../service/snapshots/service__observe__the_exposition_is_what_dashboards_and_rules_rely_on.snap"
);

/// Metrics with the labels of their series.
pub struct Exposition {
    families: BTreeMap<String, BTreeSet<String>>,
}

impl Exposition {
    pub fn read() -> Self {
        let mut families: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for line in SNAPSHOT.lines() {
            if let Some(histogram) =
                line.strip_prefix("# TYPE ").and_then(|line| line.strip_suffix(" histogram"))
            {
                families.insert(format!("{histogram}_bucket"), ["le".to_owned()].into());
            }
            if line.starts_with("barnabas_") || line.starts_with("process_") {
                let (name, labels) = line.split_once('{').unwrap_or((line, ""));
                let names = labels.split("\",").filter_map(|label| label.split_once('='));
                let entry = families.entry(name.to_owned()).or_default();
                entry.extend(names.map(|(name, _)| name.to_owned()));
            }
        }
        assert!(families.len() > 40, "the snapshot was read");
        Self { families }
    }

    /// What a PromQL expression speaks of that is neither shown by the service nor recorded by a rule.
    pub fn unknown_in(&self, expression: &str, recorded: &BTreeSet<String>) -> Vec<String> {
        let mut unknown = Vec::new();
        for (name, matchers) in selectors(expression) {
            if name.contains(':') {
                if !recorded.contains(&name) {
                    unknown.push(name);
                }
                continue;
            }
            let Some(labels) = self.families.get(&name) else {
                unknown.push(name);
                continue;
            };
            let is_ours = |label: &&String| !["job", "instance"].contains(&label.as_str());
            for label in matchers.iter().filter(is_ours).filter(|label| !labels.contains(*label)) {
                unknown.push(format!("{name}{{{label}}}"));
            }
        }
        unknown
    }
}

/// The metrics that an expression selects, with the labels that it matches.
fn selectors(expression: &str) -> Vec<(String, Vec<String>)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(start) = rest.find(is_word) {
        rest = &rest[start..];
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        let is_metric = word.contains("barnabas_") || word.starts_with("process_");
        if !is_metric {
            continue;
        }
        let mut matchers = Vec::new();
        if let Some(inside) = after.strip_prefix('{') {
            let (inside, after) = inside.split_once('}').unwrap();
            let name = |part: &str| part.split(['=', '!']).next().unwrap().trim().to_owned();
            matchers = split_matchers(inside).into_iter().map(name).collect();
            rest = after;
        }
        found.push((word.to_owned(), matchers));
    }
    found
}

/// `a="x,y",b!="z"` is two.
fn split_matchers(inside: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut is_quoted) = (0, false);
    for (place, c) in inside.char_indices() {
        match c {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => {
                parts.push(&inside[start..place]);
                start = place + 1;
            }
            _ => {}
        }
    }
    parts.push(&inside[start..]);
    parts
}

#[test]
fn an_unknown_name_or_label_is_found() {
    let exposition = Exposition::read();
    let unknown = |expression| exposition.unknown_in(expression, &BTreeSet::new());
    assert_eq!(unknown("rate(barnabas_no_such_total[5m])"), ["barnabas_no_such_total"]);
    assert_eq!(
        unknown("sum(barnabas_lanes{state=\"idle\",job=~\"a,b\",stat!=\"x\"}) > 0"),
        ["barnabas_lanes{stat}"]
    );
    assert_eq!(unknown("job:barnabas_x:rate5m > 1"), ["job:barnabas_x:rate5m"]);
    assert_eq!(unknown("sum by (le) (barnabas_delivery_age_seconds_bucket{le=\"5\"})").len(), 0);
}
