//! The house rules that a compiler does not check: imports point down, files stay small and say what they are for.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

use std::fs;
use std::path::{Path, PathBuf};

/// The end of a file.
const MAX_LINES: usize = 400;

/// The floors from the top; rooms on one floor do not import each other.
const FLOORS: [&[&str]; 9] = [
    &["main", "lib"],
    &["cli"],
    &["demo"],
    &["app"],
    &["config"],
    &["telemetry"],
    &["admin"],
    &["driver"],
    &[
        "kafka",
        "webhook",
        "metrics",
        "secrets",
        "engine",
        "shutdown",
        "clock",
        "failpoint",
        "traces",
    ],
];

/// Below the edges: these import nothing of ours, or only what stands here.
const GROUND: [(&str, &[&str]); 9] = [
    ("engine", &[]),
    ("secrets", &[]),
    ("shutdown", &[]),
    ("failpoint", &[]),
    ("clock", &["engine"]),
    ("metrics", &[]),
    ("webhook", &["engine"]),
    ("traces", &["engine"]),
    ("kafka", &["engine", "shutdown", "clock", "metrics", "secrets", "failpoint", "traces"]),
];

/// What a section of the configuration needs from the floor of its own module; see ARCHITECTURE.md.
const EXCEPTIONS: [(&str, &str); 1] = [("config", "telemetry")];

struct Source {
    path: PathBuf,
    room: String,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let first = path.strip_prefix(&root).unwrap().components().next().unwrap();
                let room = first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned();
                found.push(Source { room, text: fs::read_to_string(&path).unwrap(), path });
            }
        }
    }
    assert!(found.len() > 50, "the sources were found");
    found
}

/// The rooms that a file imports by `crate::room`.
fn imports(text: &str) -> Vec<String> {
    let word = |rest: &str| {
        rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>()
    };
    text.match_indices("crate::").map(|(place, found)| word(&text[place + found.len()..])).collect()
}

fn floor(room: &str) -> usize {
    FLOORS.iter().position(|rooms| rooms.contains(&room)).unwrap_or_else(|| {
        panic!("`{room}` stands on no floor: give it one here and in ARCHITECTURE.md")
    })
}

fn may_import(room: &str, other: &str) -> bool {
    if room == other || EXCEPTIONS.contains(&(room, other)) {
        return true;
    }
    match GROUND.iter().find(|(name, _)| *name == room) {
        Some((_, allowed)) => allowed.contains(&other),
        None => floor(room) < floor(other),
    }
}

#[test]
fn imports_point_down() {
    let mut wrong = Vec::new();
    for source in sources() {
        for other in imports(&source.text) {
            if !may_import(&source.room, &other) {
                wrong.push(format!("{} imports crate::{other}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_rule_itself_can_fail() {
    assert!(!may_import("engine", "kafka"));
    assert!(!may_import("kafka", "driver"));
    assert!(!may_import("webhook", "kafka"));
    assert!(may_import("app", "driver"));
}

#[test]
fn nothing_but_the_roof_imports_the_configuration() {
    let above = ["main", "lib", "cli", "demo", "app", "config"];
    for source in sources() {
        let imports_it = imports(&source.text).iter().any(|room| room == "config");
        assert!(!imports_it || above.contains(&&*source.room), "{}", source.path.display());
    }
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    let mut wrong = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        if lines > MAX_LINES {
            wrong.push(format!(
                "{} has {lines} lines: which noun hides in it?",
                source.path.display()
            ));
        }
        let is_crate = source.text.starts_with("#![doc");
        if !is_crate && !source.text.starts_with("//!") {
            wrong.push(format!("{} does not begin with //!", source.path.display()));
        }
        if source.path.file_name().is_some_and(|name| name == "mod.rs") {
            wrong.push(format!("{} is a mod.rs", source.path.display()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
