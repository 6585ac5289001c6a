//! The audit record of a change: who changed what, when. Never a secret, only that one was changed.
//!
//! Decides the record's shape. It is written in one transaction with the change, so that neither takes effect alone.

use serde::Serialize;

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
