//! What stands in `deploy/`: that dashboards, rules and manifests speak of what there is.

#![allow(missing_docs, unreachable_pub, missing_debug_implementations, reason = "it has no users")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

mod dashboards;
mod exposition;
mod manifests;
mod rules;

use std::fs;
use std::path::{Path, PathBuf};

/// A path below `deploy/`.
fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

/// The text of a file below `deploy/`.
fn read(path: &str) -> String {
    let path = deploy(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
