//! A connection's record.

use serde_json::json;

/// What the benchmarks' connections differ in.
#[derive(Clone, Debug)]
pub struct Connection {
    pub project: u64,
    pub id: String,
    pub url: String,
    pub events: &'static [&'static str],
    pub rate_per_second: u32,
    pub max_in_flight: u32,
    pub timeout_seconds: u32,
    pub max_age_seconds: Option<u32>,
}

impl Connection {
    /// One that wants every opened email, as fast as may be.
    pub fn new(project: u64, id: String, url: String) -> Self {
        Self {
            project,
            id,
            url,
            events: &["message_open"],
            rate_per_second: 10_000,
            max_in_flight: 64,
            timeout_seconds: 10,
            max_age_seconds: None,
        }
    }

    pub fn key(&self) -> String {
        format!("p{}/{}", self.project, self.id)
    }

    pub fn value(&self) -> String {
        json!({
            "schema": 1, "project_id": format!("p{}", self.project), "connection_id": self.id,
            "revision": 1, "name": self.id, "status": "active", "url": self.url,
            "auth": {"type": "bearer", "token": "t0ken-of-a-usual-length-0123456789"},
            "events": self.events, "channels": ["email"],
            "delivery": {
                "rate_per_second": self.rate_per_second, "burst": self.rate_per_second,
                "max_in_flight": self.max_in_flight, "timeout_seconds": self.timeout_seconds,
                "max_age_seconds": self.max_age_seconds,
            },
            "created_at": 1_700_000_000, "updated_at": 1_700_000_000,
        })
        .to_string()
    }
}
