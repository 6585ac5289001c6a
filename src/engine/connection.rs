//! A connection: who wants which events, where, and how fast.
//!
//! Valid by construction: the decoder in `kafka/record/connection` checks every rule of the contract, and nothing
//! in the engine looks at an unchecked one.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;

use super::address::Endpoint;
use super::catalog::{NameIndex, NameSet};
use super::time::Timestamp;

/// The section `[delivery]` of the configuration: the defaults of connections' limits, and the instance's own.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeliveryConfig {
    /// Attempts a second for a connection that says nothing else, over all instances; 1–10000.
    pub rate_per_second: u32,
    /// How many attempts may come at once after a pause; 1–10000.
    pub burst: u32,
    /// Attempts of one connection under way at once, in one instance; 1–500.
    pub max_in_flight: u32,
    /// From the start of an attempt to the last byte of its answer, in seconds; 1–30.
    pub timeout_seconds: u32,
    /// Attempts under way at once in one instance: a guard of memory, shared fairly between connections.
    pub max_in_flight_total: u32,
    /// Delivery threads; 0 means one for each core.
    pub shards: u32,
    /// Deliveries that one consumer holds in memory; when so many are open it stops polling.
    pub max_open_deliveries: u32,
    /// Bytes of events that one consumer holds in memory; when so many are open it stops polling.
    pub max_open_bytes: u64,
}

impl Default for DeliveryConfig {
    fn default() -> Self {
        Self {
            rate_per_second: 50,
            burst: 50,
            max_in_flight: 16,
            timeout_seconds: 15,
            max_in_flight_total: 2048,
            shards: 0,
            max_open_deliveries: 20_000,
            max_open_bytes: 64 * 1024 * 1024,
        }
    }
}

/// A connection's identity: `<project_id>/<connection_id>`, the key of its record. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionKey(Arc<str>);

impl ConnectionKey {
    /// From a record's key; `None` if it is not `<project>/<connection>` with both parts there.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (project, connection) = text.split_once('/')?;
        let named = !project.is_empty() && !connection.is_empty() && !connection.contains('/');
        named.then(|| Self(text.into()))
    }

    /// The project's id.
    #[must_use]
    pub fn project(&self) -> &str {
        self.0.split_once('/').map_or("", |(project, _)| project)
    }

    /// The connection's id.
    #[must_use]
    pub fn connection(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, connection)| connection)
    }

    /// The whole key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The whole key, shared.
    #[must_use]
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// Which of `shards` serves it: FNV-1a, the same in every process and version.
    #[must_use]
    pub fn shard(&self, shards: usize) -> usize {
        let hash = self.0.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        usize::try_from(hash % shards.max(1) as u64).unwrap_or(0)
    }
}

impl fmt::Display for ConnectionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a connection proves itself to its endpoint. Further kinds join as variants.
#[derive(Clone, Debug)]
pub enum Auth {
    /// RFC 7617.
    Basic {
        /// Without a colon.
        username: Box<str>,
        /// Any text.
        password: SecretString,
    },
    /// RFC 6750.
    Bearer {
        /// Visible ASCII.
        token: SecretString,
    },
}

/// Which events a connection wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Filter {
    /// The event names.
    pub events: NameSet,
    /// The channel names.
    pub channels: NameSet,
}

impl Filter {
    /// What is assumed of a connection whose own filter cannot be read: it may want anything.
    pub const EVERYTHING: Self = Self { events: NameSet::ALL, channels: NameSet::ALL };

    /// Whether it lets an event through.
    #[must_use]
    pub const fn matches(self, event: NameIndex, channel: NameIndex) -> bool {
        self.events.contains(event) && self.channels.contains(channel)
    }
}

/// What a connection's endpoint may be burdened with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Attempts a second, over all instances.
    pub rate_per_second: NonZeroU32,
    /// Attempts at once after a pause.
    pub burst: NonZeroU32,
    /// Attempts under way at once.
    pub max_in_flight: NonZeroU32,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// A delivery of an older event is a dead letter `expired`.
    pub max_age: Option<Duration>,
}

/// What a user has set a connection to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It gets its events.
    Active,
    /// It gets nothing.
    Inactive,
}

/// A connection in force.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Its identity.
    pub key: ConnectionKey,
    /// Rises with every change by a user.
    pub revision: u64,
    /// What users call it.
    pub name: Box<str>,
    /// What a user has set.
    pub status: Status,
    /// Where its requests go.
    pub endpoint: Arc<Endpoint>,
    /// Its credentials.
    pub auth: Auth,
    /// What it wants.
    pub filter: Filter,
    /// What its endpoint can bear.
    pub limits: Limits,
    /// Events recorded before this are not for it.
    pub created_at: Timestamp,
    /// What people are told of it.
    pub notes: Notes,
}

/// What people are told of a connection, and no delivery depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// When it was changed last, as whoever changed it says.
    pub updated_at: Option<Timestamp>,
    /// Who changed it last.
    pub updated_by: Option<Box<str>>,
    /// When its secret was entered.
    pub secret_set_at: Option<Timestamp>,
    /// The limits that it sets itself.
    pub own_limits: OwnLimits,
}

/// The limits that a connection sets itself; what is not there is the operator's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnLimits {
    /// Attempts a second, over all instances.
    pub rate_per_second: Option<NonZeroU32>,
    /// Attempts at once after a pause.
    pub burst: Option<NonZeroU32>,
    /// Attempts under way at once.
    pub max_in_flight: Option<NonZeroU32>,
    /// How long one attempt may take.
    pub timeout_seconds: Option<NonZeroU32>,
    /// How old an event may become.
    pub max_age_seconds: Option<NonZeroU32>,
}

impl OwnLimits {
    /// All limits, with the operator's where it has none of its own.
    #[must_use]
    pub fn over(self, defaults: Limits) -> Limits {
        let seconds = |number: NonZeroU32| Duration::from_secs(number.get().into());
        Limits {
            rate_per_second: self.rate_per_second.unwrap_or(defaults.rate_per_second),
            burst: self.burst.unwrap_or(defaults.burst),
            max_in_flight: self.max_in_flight.unwrap_or(defaults.max_in_flight),
            timeout: self.timeout_seconds.map_or(defaults.timeout, seconds),
            max_age: self.max_age_seconds.map(seconds).or(defaults.max_age),
        }
    }
}

/// One rule that a connection's record breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The field, with those around it: `auth.password`; empty for the record as a whole.
    pub field: Box<str>,
    /// What is wrong, for people; never a secret.
    pub text: Box<str>,
}

impl Fault {
    /// A fault of that field.
    #[must_use]
    pub fn new(field: &str, text: impl fmt::Display) -> Self {
        Self { field: field.into(), text: text.to_string().into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            return f.write_str(&self.text);
        }
        write!(f, "{}: {}", self.field, self.text)
    }
}

/// A record that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What the connection may want: what could be read of its filter, and everything in place of the rest.
    pub filter: Filter,
    /// Its revision, where that could be read.
    pub revision: Option<u64>,
    /// Every rule that is broken.
    pub faults: Box<[Fault]>,
}

impl Refusal {
    /// Of a record of which only this is known.
    #[must_use]
    pub const fn of(filter: Filter, faults: Box<[Fault]>) -> Self {
        Self { filter, revision: None, faults }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_two_parts() {
        let key = ConnectionKey::parse("4172/whc_1").unwrap();
        assert_eq!((key.project(), key.connection()), ("4172", "whc_1"));
        for text in ["", "4172", "/x", "4172/", "a/b/c"] {
            assert_eq!(ConnectionKey::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn keys_spread_over_the_shards() {
        let mut counts = [0; 4];
        for number in 0..4000 {
            counts[ConnectionKey::parse(&format!("p/{number}")).unwrap().shard(4)] += 1;
        }
        assert!(counts.iter().all(|&count| (800..1200).contains(&count)), "{counts:?}");
    }
}
