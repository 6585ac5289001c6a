//! The audit record of a change: who changed what, when. Never a secret, only that one was changed.
//!
//! Decides the records' shapes. A change's is written in one transaction with it, so that neither takes effect alone;
//! a redrive's before it begins.

use serde::Serialize;

use super::dead_letters::{RedriveOrder, Selection};
use super::place::Place;
use crate::engine::connection::ConnectionKey;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// A connection was created.
    Create,
    /// It was edited.
    Update,
    /// It was set active.
    Activate,
    /// It was set inactive.
    Deactivate,
    /// It was deleted.
    Delete,
    /// Dead letters were put back into delivery.
    Redrive,
}

/// A record of the audit topic; its key is the connection's.
#[derive(Clone, Debug, Serialize)]
pub struct AuditRecord<'a> {
    /// The version of this format.
    pub schema: u32,
    /// When, in UNIX seconds.
    pub at: u64,
    /// Who: `token:<id>`.
    pub who: &'a str,
    /// The project.
    pub project_id: &'a str,
    /// The connection.
    pub connection_id: &'a str,
    /// What was done.
    pub action: Action,
    /// The connection's revision by that; that of the deleted one.
    pub revision: u64,
    /// The fields that were changed, such as `auth.password`.
    pub changed: &'a [String],
}

impl<'a> AuditRecord<'a> {
    /// What `who` did to a connection at a time.
    #[must_use]
    pub fn new(at: u64, who: &'a str, key: &'a ConnectionKey, action: Action) -> Self {
        Self {
            schema: 1,
            at,
            who,
            project_id: key.project(),
            connection_id: key.connection(),
            action,
            revision: 0,
            changed: &[],
        }
    }

    /// The record's value.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an audit record is plain data")
    }
}

/// The record of a redrive; its key is the project.
#[derive(Clone, Debug, Serialize)]
pub struct RedriveRecord<'a> {
    /// The version of this format.
    pub schema: u32,
    /// When it was asked for, in UNIX seconds.
    pub at: u64,
    /// Who: `token:<id>`.
    pub who: &'a str,
    /// The project.
    pub project_id: &'a str,
    /// [`Action::Redrive`].
    pub action: Action,
    /// The dead letters of that connection alone.
    pub connection_id: Option<&'a str>,
    /// Given up for that reason alone.
    pub reason: Option<&'a str>,
    /// Given up then or later, in milliseconds since the epoch.
    pub from_ms: Option<u64>,
    /// Given up before then, in milliseconds since the epoch.
    pub to_ms: Option<u64>,
    /// These alone.
    pub ids: Option<&'a [Place]>,
    /// How many can be put back, as far as was known then.
    pub redrivable: u64,
}

impl<'a> RedriveRecord<'a> {
    /// What `who` puts back, and how many of them can be.
    #[must_use]
    pub fn new(at: u64, who: &'a str, order: &'a RedriveOrder, redrivable: u64) -> Self {
        let (query, ids) = match &order.selection {
            Selection::Matching(query) => (Some(query), None),
            Selection::Ids(ids) => (None, Some(ids.as_slice())),
        };
        let connection = query.and_then(|query| query.connection.as_ref());
        Self {
            schema: 1,
            at,
            who,
            project_id: order.project_id.as_deref().unwrap_or_default(),
            action: Action::Redrive,
            connection_id: connection.map(ConnectionKey::connection),
            reason: query.and_then(|query| query.reason.as_deref()),
            from_ms: query.and_then(|query| query.from_ms),
            to_ms: query.and_then(|query| query.to_ms),
            ids,
            redrivable,
        }
    }

    /// The record's value.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an audit record is plain data")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_says_who_did_what() {
        let key = ConnectionKey::parse("4172/whc_1").unwrap();
        let changed = ["auth.password".to_owned(), "url".to_owned()];
        let record = AuditRecord {
            revision: 8,
            changed: &changed,
            ..AuditRecord::new(1_760_000_000, "token:ops", &key, Action::Update)
        };
        let text = String::from_utf8(record.encode()).unwrap();
        let expected = r#"{"schema":1,"at":1760000000,"who":"token:ops","project_id":"4172","connection_id":"whc_1","action":"update","revision":8,"changed":["auth.password","url"]}"#;
        assert_eq!(text, expected);
    }
}
