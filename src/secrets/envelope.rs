//! The text of a sealed secret: `v1.<key id>.<base64url>`, without padding.
//!
//! Takes it apart and puts it together; lengths are looked at before anything else. It knows no key and opens nothing:
//! a text that passes here may still be forged.

use std::fmt;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::key::{KEY_BYTES, KeyId, KeyIdError};

/// The longest secret: 1024 characters of four bytes, or a token of 4096.
pub const MAX_SECRET_BYTES: usize = 4096;

/// AES-GCM's.
pub(super) const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
const VERSION: &str = "v1";

const WRAP_NONCE: Range<usize> = 0..NONCE_BYTES;
const WRAPPED_KEY: Range<usize> = NONCE_BYTES..NONCE_BYTES + KEY_BYTES + TAG_BYTES;
const SECRET_NONCE: Range<usize> = WRAPPED_KEY.end..WRAPPED_KEY.end + NONCE_BYTES;
/// What is there beside the secret itself.
const OVERHEAD: usize = SECRET_NONCE.end + TAG_BYTES;
/// Of the whole text: the largest body in base64, with room for any version and key id.
const MAX_TEXT_BYTES: usize = (OVERHEAD + MAX_SECRET_BYTES).div_ceil(3) * 4 + 64;

/// A sealed secret in its parts.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    key: KeyId,
    /// The nonce and the wrapped data key, the nonce and the sealed secret.
    body: Vec<u8>,
}

/// Why a text is no sealed secret. Shows nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Longer than the longest secret, sealed.
    #[error("a sealed secret has at most {MAX_TEXT_BYTES} characters, this one has {0}")]
    TooLong(usize),
    /// Not three parts.
    #[error("a sealed secret reads v1.<key id>.<base64url>")]
    Shape,
    /// Of another version.
    #[error("a sealed secret begins with v1: other versions are not known to this program")]
    Version,
    /// The second part names no key.
    #[error("a sealed secret names its key: {0}")]
    Key(#[from] KeyIdError),
    /// The third part is no base64url, or is padded.
    #[error("the third part of a sealed secret is base64url without padding")]
    Base64,
    /// Too short or too long to hold a secret.
    #[error("a sealed secret holds 1-{MAX_SECRET_BYTES} bytes; this one is cut off or too long")]
    Length,
}

impl Envelope {
    /// Takes a text apart. It says nothing of whether the secret opens.
    ///
    /// # Errors
    /// [`EnvelopeError`]: the first rule that it breaks, lengths first.
    pub fn parse(text: &str) -> Result<Self, EnvelopeError> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(EnvelopeError::TooLong(text.len()));
        }
        let mut parts = text.split('.');
        let (Some(version), Some(key), Some(body), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(EnvelopeError::Shape);
        };
        if version != VERSION {
            return Err(EnvelopeError::Version);
        }
        let key = key.parse()?;
        let body = URL_SAFE_NO_PAD.decode(body).map_err(|_| EnvelopeError::Base64)?;
        if !(OVERHEAD + 1..=OVERHEAD + MAX_SECRET_BYTES).contains(&body.len()) {
            return Err(EnvelopeError::Length);
        }
        Ok(Self { key, body })
    }

    /// The key that wraps it.
    #[must_use]
    pub const fn key(&self) -> &KeyId {
        &self.key
    }

    /// From the two layers, each behind its nonce.
    pub(super) fn of(key: KeyId, wrapped: [&[u8]; 2], sealed: [&[u8]; 2]) -> Self {
        Self { key, body: [wrapped.concat(), sealed.concat()].concat() }
    }

    /// The nonce and the wrapped data key.
    pub(super) fn wrapped(&self) -> (&[u8], &[u8]) {
        (&self.body[WRAP_NONCE], &self.body[WRAPPED_KEY])
    }

    /// The nonce and the sealed secret.
    pub(super) fn sealed(&self) -> (&[u8], &[u8]) {
        (&self.body[SECRET_NONCE], &self.body[SECRET_NONCE.end..])
    }
}

impl fmt::Display for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION}.{}.{}", self.key, URL_SAFE_NO_PAD.encode(&self.body))
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope").field("key", &self.key).finish_non_exhaustive()
    }
}
