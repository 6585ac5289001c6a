//! What all instances have logged: counts of the lines that matter, each log read once however often one asks.

use std::cell::{RefCell, RefMut};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use crate::observation::{Millis, now};

/// The assignment of an instance has changed.
pub const REASSIGNED: &str = "the assignment has changed";
/// A record was refused by the broker.
pub const NOT_WRITTEN: &str = "a record was not written";
/// The code of an attempt has panicked.
pub const PANICKED: &str = "an attempt panicked";
/// Attempts were given up that were under way, for their time was over.
pub const CUT_OFF: &str = "attempts are cut off";
/// What a member logs that loses partitions, or gives them up without its last word.
pub const LOSSES: [&str; 3] =
    ["partitions were lost", "given up without a last commit", "given up with work open"];

/// The broker has deleted what was to be read.
pub const EXPIRED: &str = "records were deleted before they were read";

const WATCHED: [&str; 8] =
    [REASSIGNED, NOT_WRITTEN, PANICKED, CUT_OFF, EXPIRED, LOSSES[0], LOSSES[1], LOSSES[2]];

/// The logs of a folder.
#[derive(Debug)]
pub struct Logs {
    folder: PathBuf,
    read: RefCell<Read>,
}

#[derive(Debug, Default)]
struct Read {
    /// How far each file was read: to the end of its last whole line.
    until: HashMap<PathBuf, u64>,
    counts: HashMap<&'static str, u64>,
    /// When losses were told that nobody has asked for.
    losses: Vec<Millis>,
}

impl Logs {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, read: RefCell::default() }
    }

    /// How many lines in all logs have that in them; it must be one of the watched ones.
    pub fn count(&self, text: &'static str) -> u64 {
        assert!(WATCHED.contains(&text), "{text:?} is not watched");
        self.go_on().counts.get(text).copied().unwrap_or(0)
    }

    /// When members have told that they lost partitions, since this was asked last.
    pub fn take_losses(&self) -> Vec<Millis> {
        std::mem::take(&mut self.go_on().losses)
    }

    fn go_on(&self) -> RefMut<'_, Read> {
        let mut read = self.read.borrow_mut();
        for file in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let path = file.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                read.go_on(&path);
            }
        }
        read
    }
}

impl Read {
    fn go_on(&mut self, path: &Path) {
        let until = self.until.entry(path.to_owned()).or_default();
        let mut bytes = Vec::new();
        let more = File::open(path).and_then(|mut file| {
            if file.metadata()?.len() == *until {
                return Ok(0);
            }
            file.seek(SeekFrom::Start(*until))?;
            file.read_to_end(&mut bytes)
        });
        let Some(end) = more.ok().and_then(|_| bytes.iter().rposition(|byte| *byte == b'\n'))
        else {
            return;
        };
        *until += end as u64 + 1;
        for line in String::from_utf8_lossy(&bytes[..end]).lines() {
            for text in WATCHED.into_iter().filter(|text| line.contains(text)) {
                *self.counts.entry(text).or_default() += 1;
                if LOSSES.contains(&text) {
                    self.losses.push(told_at(line).unwrap_or_else(now));
                }
            }
        }
    }
}

/// When a line of a log was written.
fn told_at(line: &str) -> Option<Millis> {
    let record: serde_json::Value = serde_json::from_str(line).ok()?;
    let time: jiff::Timestamp = record["timestamp"].as_str()?.parse().ok()?;
    u64::try_from(time.as_millisecond()).ok()
}
