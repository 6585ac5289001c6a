//! Who plays: the connections of the demo, what each wants and how its endpoint behaves.
//!
//! Data and what follows from it by the pace of the campaign; starts nothing. The stage sets it up, the expectation
//! is built from it.

use std::time::Duration;

use http::StatusCode;
use http::header::HeaderValue;
use serde_json::{Value, json};

use super::campaign::Interest;
use super::receiver::{Behaviour, Credentials};

/// Whose connections these are, and whose events.
pub(super) const PROJECT: &str = "4172";

/// The channels that a campaign uses unless told.
const PUSH: &str = "mobile_push";
const EMAIL: &str = "email";

/// What every endpoint asks for; it guards nothing outside this process.
const SECRET: &str = "demo-secret";

/// A slow endpoint's answer takes this long.
const SLOW: Duration = Duration::from_millis(800);

/// A flaky endpoint fails so many.
const FLAKY_SHARE: f64 = 0.3;

/// An endpoint that asks for a pause does so in this part of every so many seconds.
const BUSY_PERIOD_SECS: u64 = 10;
const BUSY_SECS: std::ops::Range<u64> = 1..4;
/// And asks for this many seconds.
const PAUSE_SECS: &str = "2";

/// In percent of the campaign's pace: what the limited connection may get. It wants 20 in the mean and 32 in a wave.
const LIMIT_PERCENT: u32 = 24;

/// The most that a record may ask for (the contract, section 2).
const MAX_IN_FLIGHT: u32 = 500;

/// One connection and its endpoint.
#[derive(Debug)]
pub(super) struct Role {
    /// Its id; the endpoint's path is `/` and this.
    pub(super) id: &'static str,
    /// Its name for people.
    pub(super) name: &'static str,
    /// What its endpoint does.
    pub(super) act: Act,
    events: &'static [&'static str],
    channels: &'static [&'static str],
}

/// What an endpoint does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Answers at once.
    Healthy,
    /// Takes its time.
    Slow,
    /// Fails now and then.
    Flaky,
    /// Answers at once, but its connection has a low limit.
    Limited,
    /// Answers 429 with a `Retry-After` from time to time.
    Busy,
    /// Nobody listens there.
    Dead,
}

/// Everybody.
pub(super) const CAST: [Role; 6] = [
    Role {
        id: "crm",
        name: "CRM sync",
        act: Act::Healthy,
        events: &[
            "message_delivery",
            "message_open",
            "message_click",
            "message_failure",
            "message_unsubscribe",
        ],
        channels: &[PUSH, EMAIL],
    },
    Role {
        id: "analytics",
        name: "Analytics",
        act: Act::Slow,
        events: &["message_open", "message_click"],
        channels: &[EMAIL],
    },
    Role {
        id: "loyalty",
        name: "Loyalty",
        act: Act::Flaky,
        events: &["message_delivery"],
        channels: &[PUSH],
    },
    Role {
        id: "billing",
        name: "Billing",
        act: Act::Limited,
        events: &["message_send"],
        channels: &[EMAIL],
    },
    Role {
        id: "chatbot",
        name: "Chat bot",
        act: Act::Busy,
        events: &["message_delivery"],
        channels: &[EMAIL],
    },
    Role {
        id: "erp",
        name: "Old ERP",
        act: Act::Dead,
        events: &["message_open", "message_click", "message_failure", "message_unsubscribe"],
        channels: &[PUSH, EMAIL],
    },
];

impl Role {
    /// Its connection's key.
    pub(super) fn key(&self) -> String {
        format!("{PROJECT}/{}", self.id)
    }

    /// Its endpoint's path.
    pub(super) fn path(&self) -> String {
        format!("/{}", self.id)
    }

    /// What it wants.
    pub(super) fn interest(&self) -> Interest {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Interest {
            project: PROJECT.to_owned(),
            events: owned(self.events),
            channels: owned(self.channels),
        }
    }

    /// What its endpoint asks for: both kinds are to be seen.
    pub(super) fn credentials(&self) -> Credentials {
        match self.act {
            Act::Healthy | Act::Slow | Act::Flaky => Credentials::basic(self.id, SECRET),
            Act::Limited | Act::Busy | Act::Dead => Credentials::bearer(SECRET),
        }
    }

    /// Its record for the connections topic.
    pub(super) fn record(&self, url: &str, per_second: u32, created_at: u64) -> Value {
        let auth = match self.act {
            Act::Healthy | Act::Slow | Act::Flaky => {
                json!({"type": "basic", "username": self.id, "password": SECRET})
            }
            Act::Limited | Act::Busy | Act::Dead => json!({"type": "bearer", "token": SECRET}),
        };
        let rate = self.act.rate_per_second(per_second);
        // A slow endpoint needs as many requests at once as come in while it thinks about one.
        let window = (per_second / 5).clamp(16, MAX_IN_FLIGHT);
        json!({
            "schema": 1, "project_id": PROJECT, "connection_id": self.id, "revision": 1,
            "name": self.name, "status": "active", "url": url, "auth": auth,
            "events": self.events, "channels": self.channels,
            "delivery": {"rate_per_second": rate, "burst": rate, "max_in_flight": window},
            "created_at": created_at, "updated_at": created_at, "updated_by": "demo",
        })
    }
}

impl Act {
    /// In the words of the table.
    pub(super) fn describe(self, per_second: u32) -> String {
        match self {
            Self::Healthy => "healthy".to_owned(),
            Self::Slow => format!("slow, {} ms", SLOW.as_millis()),
            Self::Flaky => "flaky, 30% fail".to_owned(),
            Self::Limited => format!("limit {}/s", self.rate_per_second(per_second)),
            Self::Busy => "429 at times".to_owned(),
            Self::Dead => "dead, refuses".to_owned(),
        }
    }

    /// What the receiver does so long after the start; `None` where there is no receiver.
    pub(super) fn behaviour(self, elapsed: Duration) -> Option<Behaviour> {
        match self {
            Self::Healthy | Self::Limited => Some(Behaviour::Healthy),
            Self::Slow => Some(Behaviour::slow(SLOW)),
            Self::Flaky => Some(Behaviour::Flaky { share: FLAKY_SHARE }),
            Self::Busy if BUSY_SECS.contains(&(elapsed.as_secs() % BUSY_PERIOD_SECS)) => {
                Some(Behaviour::Status {
                    code: StatusCode::TOO_MANY_REQUESTS,
                    retry_after: Some(HeaderValue::from_static(PAUSE_SECS)),
                })
            }
            Self::Busy => Some(Behaviour::Healthy),
            Self::Dead => None,
        }
    }

    /// The connection's limit: out of the way, except where it is to be seen.
    fn rate_per_second(self, per_second: u32) -> u32 {
        match self {
            Self::Limited => (per_second * LIMIT_PERCENT).div_ceil(100),
            Self::Healthy | Self::Slow | Self::Flaky | Self::Busy | Self::Dead => per_second * 10,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_names_are_unique() {
        for (place, role) in CAST.iter().enumerate() {
            let others = &CAST[place + 1..];
            assert!(others.iter().all(|other| other.id != role.id && other.name != role.name));
        }
    }

    #[test]
    fn the_busy_endpoint_asks_for_a_pause_and_is_well_again() {
        let status = |secs| match Act::Busy.behaviour(Duration::from_secs(secs)) {
            Some(Behaviour::Status { code, .. }) => code.as_u16(),
            _ => 200,
        };
        assert_eq!([0, 1, 3, 4, 9, 10, 11].map(status), [200, 429, 429, 200, 200, 200, 429]);
    }

    #[test]
    fn limits_are_within_the_contract_at_any_pace() {
        for per_second in [1, 100, 1000] {
            for role in &CAST {
                let record = role.record("https://127.0.0.1:8443/", per_second, 1);
                let rate = record["delivery"]["rate_per_second"].as_u64().unwrap();
                assert!((1..=10_000).contains(&rate), "{record}");
            }
        }
    }
}
