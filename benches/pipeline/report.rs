//! The figures as a table for people and as JSON for programs.

use std::fmt::Write as _;
use std::fs;
use std::thread;

use serde_json::{Map, Value, json};

use crate::figures::{Figures, Goal, Summary};
use crate::options::Options;

pub const FOOTNOTE: &str = "\
Figures wander with the machine and with what else runs on it; ratios are of one run and can be compared.
CPU is user + system time of the process, from /proc/<pid>/stat.";

pub fn table(figures: &Figures) -> String {
    let mut table =
        format!("{:<46} {:>12} {:>12} {:>12}  {}\n", figures.key, "median", "min", "max", "goal");
    for (name, Summary { median, min, max, .. }, goal) in figures.summaries() {
        let (median_shown, min, max) = (shown(median), shown(min), shown(max));
        let goal = goal.map_or_else(String::new, |goal| {
            let (sign, bound) = match goal {
                Goal::AtMost(bound) => ("<=", bound),
                Goal::AtLeast(bound) => (">=", bound),
            };
            let verdict = if goal.is_met(median) { "met" } else { "missed" };
            format!("{sign} {} {verdict}", shown(bound))
        });
        let _ = writeln!(table, "  {name:<44} {median_shown:>12} {min:>12} {max:>12}  {goal}");
    }
    for (name, why) in &figures.missing {
        let _ = writeln!(table, "  {name:<44} {why}");
    }
    table
}

/// Medians under their names; the spread of each beside them.
pub fn json(all: &[Figures], options: &Options) -> Value {
    let mut whole = Map::new();
    whole.insert("machine".to_owned(), machine());
    whole.insert("runs".to_owned(), options.runs.into());
    whole.insert("quick".to_owned(), options.is_quick.into());
    for figures in all {
        let (mut medians, mut spread) = (json!({}), Map::new());
        for (name, summary, goal) in figures.summaries() {
            put(&mut medians, name, summary.median.into());
            let Summary { min, max, runs, median } = summary;
            let is_met = goal.map(|goal| goal.is_met(median));
            spread.insert(
                name.to_owned(),
                json!({"min": min, "max": max, "runs": runs, "goal_met": is_met}),
            );
        }
        for name in figures.missing.keys() {
            put(&mut medians, name, Value::Null);
        }
        put(&mut medians, "spread", spread.into());
        whole.insert(figures.key.to_owned(), medians);
    }
    whole.into()
}

fn put(place: &mut Value, name: &str, value: Value) {
    match name.split_once('.') {
        Some((level, rest)) => put(&mut place[level], rest, value),
        None => place[name] = value,
    }
}

fn machine() -> Value {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    json!({
        "cpu": field("model name"),
        "cores": thread::available_parallelism().map_or(1, usize::from),
        "kernel": kernel.trim(),
    })
}

fn shown(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => format!("{value:.0}"),
        size if size >= 100.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
