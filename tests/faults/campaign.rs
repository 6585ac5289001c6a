//! The events of a run and who wants them: all of it follows from an event's number, so that the load, the sink and
//! the judge agree without talking.

use serde_json::{Value, json};

use crate::dice::Dice;

/// Events are spread over so many projects; each has every slot once.
pub const PROJECTS: u32 = 4;
/// Every so many events, one has an odd shape.
const ODD_EVERY: u32 = 97;
/// Bytes of padding in a record that is about as large as the default limit allows.
const PADDING: usize = 1_000_000;
/// 2^53 + 1: a number that a float cannot hold.
const BIG_ID: &str = "9007199254740993";
const DEPTH: usize = 100_000;

/// What kind of endpoint stands behind a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Healthy,
    /// Healthy, behind the fault proxy.
    Proxied,
    /// Fails every tenth request.
    Flaky,
    /// Takes its time.
    Slow,
    /// Answers 500 to everything.
    Dead,
    /// Never answers.
    Hanging,
    /// Has a rate that it does not keep up with.
    Limited,
    /// Its URL and token are edited while it runs.
    Edited,
    /// Is deactivated, deleted and made again while it runs.
    Toggled,
    /// Its record cannot be read, and never could.
    Unreadable,
}

/// The connections of each project, by their slot.
pub const SLOTS: [Kind; 16] = [
    Kind::Healthy,
    Kind::Healthy,
    Kind::Healthy,
    Kind::Healthy,
    Kind::Healthy,
    Kind::Healthy,
    Kind::Proxied,
    Kind::Proxied,
    Kind::Flaky,
    Kind::Slow,
    Kind::Dead,
    Kind::Hanging,
    Kind::Limited,
    Kind::Edited,
    Kind::Toggled,
    Kind::Unreadable,
];

const SEND: &str = "message_send";
const OPEN: &str = "message_open";
const CLICK: &str = "message_click";
const FAILURE: &str = "message_failure";

/// What an event's record looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Usual,
    BigId,
    Large,
    DuplicateKeys,
    Empty,
    Null,
    Truncated,
    NotUtf8,
    Deep,
}

const ODD: [Shape; 8] = [
    Shape::BigId,
    Shape::Truncated,
    Shape::Large,
    Shape::NotUtf8,
    Shape::Null,
    Shape::Deep,
    Shape::DuplicateKeys,
    Shape::Empty,
];

/// What must become of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A delivery for each matching connection.
    Deliveries,
    /// A dead letter of the record itself.
    DeadLetter,
    /// Nothing; it is counted.
    Skipped,
}

/// One event, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventNo(pub u32);

impl EventNo {
    /// Reads the `webhook-id` of [`Self::id`].
    pub fn parse(id: &str) -> Option<Self> {
        id.strip_prefix('e')?.parse().ok().map(Self)
    }

    pub fn id(self) -> String {
        format!("e{}", self.0)
    }

    pub const fn project(self) -> u32 {
        self.0 % PROJECTS
    }

    pub const fn shape(self) -> Shape {
        if self.0 % ODD_EVERY != ODD_EVERY - 1 {
            return Shape::Usual;
        }
        ODD[(self.0 / ODD_EVERY) as usize % ODD.len()]
    }

    pub const fn fate(self) -> Fate {
        match self.shape() {
            Shape::Usual | Shape::BigId | Shape::Large => Fate::Deliveries,
            Shape::Null => Fate::Skipped,
            Shape::DuplicateKeys
            | Shape::Empty
            | Shape::Truncated
            | Shape::NotUtf8
            | Shape::Deep => Fate::DeadLetter,
        }
    }

    const fn name(self) -> &'static str {
        match Dice::new(self.0 as u64).below(100) {
            0..4 => FAILURE,
            4..12 => CLICK,
            12..50 => OPEN,
            _ => SEND,
        }
    }

    /// Whether the connection in that slot of its project wants it.
    pub fn is_wanted_by(self, slot: usize) -> bool {
        self.fate() == Fate::Deliveries && wants(SLOTS[slot]).contains(&self.name())
    }

    /// The record's value; `None` for a null one.
    pub fn value(self) -> Option<Vec<u8>> {
        let usual = self.text("");
        match self.shape() {
            Shape::Usual | Shape::BigId => Some(usual.into_bytes()),
            Shape::Large => {
                Some(self.text(&format!(",\"padding\":\"{}\"", "x".repeat(PADDING))).into_bytes())
            }
            Shape::DuplicateKeys => Some(self.text(",\"event\":\"message_open\"").into_bytes()),
            Shape::Empty => Some(Vec::new()),
            Shape::Null => None,
            Shape::Truncated => Some(usual.as_bytes()[..usual.len() / 2].to_vec()),
            Shape::NotUtf8 => {
                let mut bytes = usual.into_bytes();
                bytes[20] = 0xff;
                Some(bytes)
            }
            Shape::Deep => {
                let deep = format!(",\"deep\":{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH));
                Some(self.text(&deep).into_bytes())
            }
        }
    }

    /// The body that its receivers must get, byte for byte.
    pub fn body(self) -> String {
        format!(
            "{{\"event\":\"{}\",\"time\":1760090581,\"properties\":{{\"message_type\":\"email\",\
             \"campaign_id\":245624,\"profile_id\":{},\"device_id\":null,\"trigger_id\":null,\
             \"user_id\":null,\"email\":\"jane.doe@example.com\"{}}}}}",
            self.name(),
            self.profile(),
            if self.name() == FAILURE { ",\"error_message\":null" } else { "" },
        )
    }

    fn text(self, more: &str) -> String {
        format!(
            "{{\"event_id\":\"{}\",\"project_id\":\"{}\",\"event\":\"{}\",\"time\":1760090581,\
             \"properties\":{{\"message_type\":\"email\",\"campaign_id\":245624,\"profile_id\":{},\
             \"email\":\"jane.doe@example.com\"}}{more}}}",
            self.id(),
            self.project(),
            self.name(),
            self.profile(),
        )
    }

    fn profile(self) -> String {
        if self.shape() == Shape::BigId { BIG_ID.to_owned() } else { self.0.to_string() }
    }
}

/// Which events a kind subscribes to. Those that fail for good take few: each of their deliveries costs retries.
const fn wants(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Dead | Kind::Hanging | Kind::Unreadable => &[FAILURE],
        Kind::Limited => &[CLICK],
        Kind::Healthy | Kind::Proxied | Kind::Flaky | Kind::Slow | Kind::Edited | Kind::Toggled => {
            &[SEND, OPEN, CLICK, FAILURE]
        }
    }
}

/// One connection in one revision.
#[derive(Clone, Copy, Debug)]
pub struct Version {
    pub project: u32,
    pub slot: usize,
    pub revision: u32,
}

impl Version {
    /// The path names the version, so that a request with another version's token shows.
    pub fn path(self) -> String {
        format!("/{}/{}/{}", self.project, self.slot, self.revision)
    }

    pub fn parse(path: &str) -> Option<Self> {
        let mut parts = path.strip_prefix('/')?.splitn(3, '/');
        let project = parts.next()?.parse().ok().filter(|project| *project < PROJECTS)?;
        let slot = parts.next()?.parse().ok().filter(|slot| *slot < SLOTS.len())?;
        Some(Self { project, slot, revision: parts.next()?.parse().ok()? })
    }

    pub fn token(self) -> String {
        format!("token-{}", self.revision)
    }

    /// The key of its record.
    pub fn key(self) -> String {
        format!("{}/c{}", self.project, self.slot)
    }

    /// Its record; `port` is the sink's, or the proxy's.
    pub fn record(self, port: u16, is_active: bool) -> Value {
        let kind = SLOTS[self.slot];
        let (rate, timeout) = match kind {
            Kind::Limited => (4, 30),
            Kind::Hanging => (10_000, 1),
            // The others answer; a machine that is slow must not turn an answer into a second delivery.
            _ => (10_000, 30),
        };
        json!({
            "schema": 1, "project_id": self.project.to_string(), "connection_id": format!("c{}", self.slot),
            "revision": self.revision, "name": format!("{kind:?} {}", self.slot),
            "status": if is_active { "active" } else { "inactive" },
            "url": format!("https://127.0.0.1:{port}{}", self.path()),
            "auth": {"type": if kind == Kind::Unreadable { "runes" } else { "bearer" }, "token": self.token()},
            "events": wants(kind), "channels": ["email"],
            "delivery": {"rate_per_second": rate, "burst": rate, "max_in_flight": 64, "timeout_seconds": timeout},
            "created_at": 1_700_000_000, "updated_at": 1_700_000_000,
        })
    }
}
