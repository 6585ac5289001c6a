//! The usual cases for tests: a connection, an event, a delivery.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::address::{AddressRule, EgressConfig};
use super::catalog::{Catalog, CatalogConfig, NameIndex, Names};
use super::connection::{Auth, Connection, ConnectionKey, Filter, Limits, Notes, Refusal, Status};
use super::delivery::{Delivery, History};
use super::event::{Event, EventId, Origin, Position, Record};
use super::table::Entry;
use super::time::Timestamp;

/// The default catalog.
pub(crate) fn catalog() -> Catalog {
    Catalog::new(&CatalogConfig::default()).unwrap()
}

/// The index of a name that is there.
pub(crate) fn name(names: &Names, text: &str) -> NameIndex {
    names.find(text).unwrap()
}

/// Wide limits, so that only a test that asks for narrow ones meets them.
pub(crate) fn limits() -> Limits {
    let number = |n| NonZeroU32::new(n).unwrap();
    Limits {
        rate_per_second: number(10_000),
        burst: number(10_000),
        max_in_flight: number(16),
        timeout: Duration::from_secs(15),
        max_age: None,
    }
}

/// Starts a connection that wants everything.
pub(crate) fn connection(key: &str) -> ConnectionBuilder {
    let rule = AddressRule::new(&EgressConfig::default(), Vec::new());
    ConnectionBuilder(Connection {
        key: ConnectionKey::parse(key).unwrap(),
        revision: 1,
        name: "CRM".into(),
        status: Status::Active,
        endpoint: Arc::new(rule.check_url("https://hooks.example.com/campaigns").unwrap()),
        auth: Auth::Bearer { token: "token".to_owned().into() },
        filter: Filter::EVERYTHING,
        limits: limits(),
        created_at: Timestamp::EPOCH,
        notes: Notes::default(),
    })
}

/// What is known of a connection whose record cannot be read and may want that.
pub(crate) fn unreadable(filter: Filter) -> Entry {
    Entry::Unreadable(Arc::new(Refusal::of(filter, Box::default())))
}

/// A connection in the making.
pub(crate) struct ConnectionBuilder(Connection);

impl ConnectionBuilder {
    pub(crate) fn wants(mut self, events: &[&str], channels: &[&str]) -> Self {
        let catalog = catalog();
        self.0.filter = Filter {
            events: events.iter().map(|text| name(&catalog.events, text)).collect(),
            channels: channels.iter().map(|text| name(&catalog.channels, text)).collect(),
        };
        self
    }

    pub(crate) fn at(mut self, url: &str) -> Self {
        let rule = AddressRule::new(&EgressConfig::default(), Vec::new());
        self.0.endpoint = Arc::new(rule.check_url(url).unwrap());
        self
    }

    pub(crate) fn revision(mut self, revision: u64) -> Self {
        self.0.revision = revision;
        self
    }

    pub(crate) fn inactive(mut self) -> Self {
        self.0.status = Status::Inactive;
        self
    }

    pub(crate) fn created_at(mut self, secs: u64) -> Self {
        self.0.created_at = Timestamp::from_secs(secs);
        self
    }

    pub(crate) fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.0.limits);
        self
    }

    pub(crate) fn build(self) -> Connection {
        self.0
    }
}

/// An event recorded at that time.
pub(crate) fn event(id: &str, recorded_at: Timestamp) -> Arc<Event> {
    let catalog = catalog();
    Arc::new(Event {
        id: EventId::from_text(id),
        event: name(&catalog.events, "message_open"),
        channel: name(&catalog.channels, "email"),
        body: Bytes::from_static(b"{}"),
        record: Record {
            value: Bytes::from_static(b"{}"),
            headers: Vec::new(),
            origin: Origin {
                topic: "campaign.actions".into(),
                partition: 0,
                offset: 0,
                timestamp: recorded_at,
            },
        },
    })
}

/// A fresh delivery of an event, read at that time.
pub(crate) fn delivery(
    event: &Arc<Event>,
    key: &str,
    position: Position,
    now: Timestamp,
) -> Delivery {
    Delivery {
        event: Arc::clone(event),
        connection: ConnectionKey::parse(key).unwrap(),
        position,
        read_at: now,
        due: now,
        repeated: false,
        history: History::default(),
        waited_for: None,
    }
}
