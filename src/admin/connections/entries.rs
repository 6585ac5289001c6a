//! What a change writes: its audit record and the connection's, in this order.

use std::sync::Arc;

use bytes::Bytes;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::{Change, ChangeError, Connections};
use crate::admin::audit::AuditRecord;
use crate::clock::wall_clock;
use crate::engine::connection::{Auth, Connection};
use crate::kafka::connections::PlaintextSecrets;
use crate::kafka::editor::Entry;
use crate::kafka::record::connection::encode::encode;

impl Connections {
    /// The audit record, and then the connection's.
    pub(super) fn entries(&self, author: &str, change: &Change) -> Result<Vec<Entry>, ChangeError> {
        let Change { key, action, revision, changed, partition, connection } = change;
        let value = connection.as_ref().map(|connection| self.record(connection)).transpose()?;
        let audit = AuditRecord {
            revision: *revision,
            changed,
            ..AuditRecord::new(wall_clock().as_secs(), author, key, *action)
        };
        let audit = Entry {
            topic: Arc::clone(&self.0.audit_topic),
            partition: None,
            key: key.as_str().to_owned(),
            value: Some(Bytes::from(audit.encode())),
        };
        let record = Entry {
            topic: self.0.editor.connections_topic(),
            partition: *partition,
            key: key.as_str().to_owned(),
            value,
        };
        Ok(vec![audit, record])
    }

    fn record(&self, connection: &Connection) -> Result<Bytes, ChangeError> {
        let (Auth::Basic { password: secret, .. } | Auth::Bearer { token: secret }) =
            &connection.auth;
        let secret = self.secret_value(connection, secret)?;
        let record = encode(connection, self.catalog(), |_| secret);
        Ok(Bytes::from(record.to_string()))
    }

    /// A secret as it stands in a record: sealed for it, or plain where there is no keyring and the operator allows it.
    fn secret_value(
        &self,
        connection: &Connection,
        secret: &SecretString,
    ) -> Result<Value, ChangeError> {
        let decoder = &self.0.decoder;
        if let Some(keyring) = &decoder.keyring {
            let binding = decoder.binding(&connection.key, &connection.endpoint);
            return Ok(json!({ "sealed": keyring.current().seal(&binding, secret)? }));
        }
        match decoder.plaintext {
            PlaintextSecrets::Accept => Ok(Value::from(secret.expose_secret())),
            PlaintextSecrets::Reject => Err(ChangeError::NoKeyring),
        }
    }
}
