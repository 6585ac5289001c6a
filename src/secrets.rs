//! Seals credentials, and opens them where they belong.
//!
//! ```text
//! secret ──AES-256-GCM──▶ sealed      by a random data key, made for this one record
//! data key ──AES-256-GCM──▶ wrapped   by the keyring's primary key
//! v1.<key id>.<base64url of wrapped and sealed>
//! ```
//!
//! Both layers are bound to the place of the secret ([`Binding`]): a text that is copied to another connection, or kept
//! while the origin of the connection's URL is changed, does not open. A [`Keyring`] has one primary key, which seals;
//! the others only open what they have sealed before. No secret and no key is ever shown: not by `Debug`, `Display` or
//! `Serialize`, nor by an error. The decoder of connections opens; the API and the command line seal.

pub mod envelope;
pub mod file;
pub mod follower;
pub mod key;
pub mod keyring;

use std::path::PathBuf;

use serde::Deserialize;

pub use self::envelope::{Envelope, EnvelopeError};
pub use self::follower::{KeyringFollower, Refresh, SharedKeyring};
pub use self::key::KeyId;
pub use self::keyring::{Keyring, OpenError, SealError};

/// The section `[secrets]` of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SecretsConfig {
    /// A file of the keys that seal credentials; without it, sealed credentials cannot be read.
    pub keyring_file: Option<PathBuf>,
}

/// Where a secret belongs. It opens there alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding<'a> {
    /// The topic of the connection's record.
    pub topic: &'a str,
    /// The connection's project.
    pub project: &'a str,
    /// The connection.
    pub connection: &'a str,
    /// Scheme, host and port of its URL, as the address rule gives them: `https://hooks.example.com`.
    pub origin: &'a str,
}

/// What the first field of the authenticated data is: the format and the schema version of the record.
const DOMAIN: &str = "barnabas sealed secret v1, connection schema 1";

impl Binding<'_> {
    /// The authenticated data of one layer: every field behind its length, so that no two bindings give the same bytes.
    fn authenticated(&self, layer: &str, key: &KeyId) -> Vec<u8> {
        let fields =
            [DOMAIN, layer, key.as_str(), self.topic, self.project, self.connection, self.origin];
        let mut bytes = Vec::new();
        for field in fields {
            bytes.extend_from_slice(&(field.len() as u64).to_be_bytes());
            bytes.extend_from_slice(field.as_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests;
