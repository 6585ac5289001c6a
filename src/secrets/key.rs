//! One key of a keyring: its name, its 32 bytes and when it was made.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::aead::{AES_256_GCM, RandomizedNonceKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand;
use secrecy::{ExposeSecret, SecretBox};

/// AES-256's.
pub const KEY_BYTES: usize = 32;
/// Enough for a date and a name; every sealed secret carries it.
const MAX_ID_BYTES: usize = 32;
/// Random bytes of a new name. With them a name is not used again by accident once its key was removed: what the old
/// one sealed would then look forged.
const NEW_ID_BYTES: usize = 4;

/// The name of a key: 1–32 of `A-Z a-z 0-9 _ -`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Box<str>);

/// The text names no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key id has 1-{MAX_ID_BYTES} of A-Z, a-z, 0-9, _ and -")]
pub struct KeyIdError;

impl KeyId {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyId {
    type Err = KeyIdError;

    fn from_str(text: &str) -> Result<Self, KeyIdError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let is_id = (1..=MAX_ID_BYTES).contains(&text.len()) && text.bytes().all(is_plain);
        if is_id { Ok(Self(text.into())) } else { Err(KeyIdError) }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A key. Its bytes are erased when it is dropped.
pub(super) struct Key {
    pub(super) bytes: SecretBox<[u8; KEY_BYTES]>,
    /// UNIX seconds.
    pub(super) created_at: u64,
}

impl Key {
    /// A new one, with a name of its own.
    pub(super) fn generate(created_at: u64) -> Result<(KeyId, Self), Unspecified> {
        let mut id = [0; NEW_ID_BYTES];
        rand::fill(&mut id)?;
        let id = format!("k{:08x}", u32::from_be_bytes(id));
        Ok((KeyId(id.into()), Self { bytes: random_bytes()?, created_at }))
    }

    /// The cipher under this key. Every use takes a random nonce.
    pub(super) fn cipher(&self) -> Result<RandomizedNonceKey, Unspecified> {
        cipher(&self.bytes)
    }
}

/// Bytes for a new key.
pub(super) fn random_bytes() -> Result<SecretBox<[u8; KEY_BYTES]>, Unspecified> {
    let mut filled = Ok(());
    let bytes = SecretBox::init_with_mut(|bytes: &mut [u8; KEY_BYTES]| filled = rand::fill(bytes));
    filled.map(|()| bytes)
}

/// The cipher under these bytes.
pub(super) fn cipher(
    bytes: &SecretBox<[u8; KEY_BYTES]>,
) -> Result<RandomizedNonceKey, Unspecified> {
    RandomizedNonceKey::new(&AES_256_GCM, bytes.expose_secret())
}
