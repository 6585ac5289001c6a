//! The keys: the primary one seals, each opens what it has sealed.
//!
//! Pure but for the dice of new keys; reading and writing the file is [`super::file`]'s.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::aead::{Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::error::Unspecified;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretBox, SecretString};

use super::Binding;
use super::envelope::{Envelope, EnvelopeError, MAX_SECRET_BYTES};
use super::key::{KEY_BYTES, Key, KeyId, cipher, random_bytes};

/// The names of the two layers: what one has sealed does not open as the other.
const DATA_KEY: &str = "data key";
const SECRET: &str = "secret";

/// One primary key and any number that only open. `Debug` shows their names.
pub struct Keyring {
    pub(super) primary: KeyId,
    pub(super) keys: BTreeMap<KeyId, Key>,
}

/// Why a secret was not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Empty, or longer than any secret may be.
    #[error("a secret to be sealed has 1-{MAX_SECRET_BYTES} bytes, this one has {0}")]
    Length(usize),
    /// The cryptographic library failed: there are no random bytes.
    #[error("the cryptographic library could not seal the secret")]
    Library,
}

/// Why a sealed secret does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It is no sealed secret at all.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// Its key is not in the keyring.
    #[error("it is sealed with the key {0}, which is not in the keyring")]
    UnknownKey(KeyId),
    /// The data key does not unwrap.
    #[error(
        "it does not open with the key {0}: it was sealed for another connection or another origin \
         of the URL, or it was changed"
    )]
    DataKey(KeyId),
    /// The data key unwraps, but what it sealed was changed.
    #[error("it was changed after it was sealed with the key {0}")]
    Secret(KeyId),
}

/// Why a keyring cannot be changed so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// No such key.
    #[error("the keyring has no key {0}")]
    UnknownKey(String),
    /// The primary key seals: another has to be made primary first.
    #[error("{0} is the primary key; make another one primary first")]
    IsPrimary(KeyId),
    /// The cryptographic library failed: there are no random bytes.
    #[error("the cryptographic library could not make a key")]
    Library,
}

/// What may be told of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its name.
    pub id: KeyId,
    /// When it was made; UNIX seconds.
    pub created_at: u64,
    /// Whether it seals.
    pub is_primary: bool,
}

impl Keyring {
    /// A keyring with one new key.
    ///
    /// # Errors
    /// [`ChangeError::Library`].
    pub fn generate(created_at: u64) -> Result<Self, ChangeError> {
        let (primary, key) =
            Key::generate(created_at).map_err(|Unspecified| ChangeError::Library)?;
        Ok(Self { keys: BTreeMap::from([(primary.clone(), key)]), primary })
    }

    /// Seals a secret for that place, with the primary key.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn seal(&self, binding: &Binding<'_>, secret: &SecretString) -> Result<String, SealError> {
        let secret = secret.expose_secret();
        if !(1..=MAX_SECRET_BYTES).contains(&secret.len()) {
            return Err(SealError::Length(secret.len()));
        }
        let envelope = self.envelope(binding, secret).map_err(|Unspecified| SealError::Library)?;
        Ok(envelope.to_string())
    }

    /// Opens what was sealed for that place, with whichever key of the ring sealed it.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(&self, binding: &Binding<'_>, sealed: &str) -> Result<SecretString, OpenError> {
        let envelope = Envelope::parse(sealed)?;
        let id = envelope.key();
        let key = self.keys.get(id).ok_or_else(|| OpenError::UnknownKey(id.clone()))?;
        let forged_key = |Unspecified| OpenError::DataKey(id.clone());
        let forged_secret = |Unspecified| OpenError::Secret(id.clone());
        let wrapping = key.cipher().map_err(forged_key)?;
        let context = binding.authenticated(DATA_KEY, id);
        let bytes = decrypt(&wrapping, envelope.wrapped(), &context).map_err(forged_key)?;
        let data_key: &[u8; KEY_BYTES] =
            bytes.as_slice().try_into().map_err(|_| OpenError::DataKey(id.clone()))?;
        let data_key = SecretBox::init_with_mut(|own: &mut [u8; KEY_BYTES]| *own = *data_key);
        let context = binding.authenticated(SECRET, id);
        let sealing = cipher(&data_key).map_err(forged_secret)?;
        let secret = decrypt(&sealing, envelope.sealed(), &context).map_err(forged_secret)?;
        let text = std::str::from_utf8(&secret).map_err(|_| OpenError::Secret(id.clone()))?;
        Ok(text.into())
    }

    /// The key that seals.
    #[must_use]
    pub const fn primary(&self) -> &KeyId {
        &self.primary
    }

    /// Whether it can open what that key has sealed.
    #[must_use]
    pub fn has(&self, key: &KeyId) -> bool {
        self.keys.contains_key(key)
    }

    /// What may be told of the keys, the oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<KeyInfo> {
        let info = |(id, key): (&KeyId, &Key)| KeyInfo {
            id: id.clone(),
            created_at: key.created_at,
            is_primary: *id == self.primary,
        };
        let mut list: Vec<_> = self.keys.iter().map(info).collect();
        list.sort_by_key(|info| info.created_at);
        list
    }

    /// Adds a new key that opens only, and names it.
    ///
    /// # Errors
    /// [`ChangeError::Library`].
    pub fn add(&mut self, created_at: u64) -> Result<KeyId, ChangeError> {
        let (id, key) = Key::generate(created_at).map_err(|Unspecified| ChangeError::Library)?;
        if self.has(&id) {
            return self.add(created_at);
        }
        self.keys.insert(id.clone(), key);
        Ok(id)
    }

    /// Lets that key seal from now on.
    ///
    /// # Errors
    /// [`ChangeError::UnknownKey`].
    pub fn make_primary(&mut self, id: &str) -> Result<(), ChangeError> {
        self.primary = self.named(id)?;
        Ok(())
    }

    /// Takes a key out: what it sealed cannot be opened any more.
    ///
    /// # Errors
    /// [`ChangeError::UnknownKey`], [`ChangeError::IsPrimary`].
    pub fn remove(&mut self, id: &str) -> Result<(), ChangeError> {
        let id = self.named(id)?;
        if id == self.primary {
            return Err(ChangeError::IsPrimary(id));
        }
        self.keys.remove(&id);
        Ok(())
    }

    fn named(&self, id: &str) -> Result<KeyId, ChangeError> {
        let found = self.keys.keys().find(|key| key.as_str() == id);
        found.cloned().ok_or_else(|| ChangeError::UnknownKey(id.escape_debug().to_string()))
    }

    fn envelope(&self, binding: &Binding<'_>, secret: &str) -> Result<Envelope, Unspecified> {
        let id = &self.primary;
        let wrapping = self.keys.get(id).ok_or(Unspecified)?.cipher()?;
        let data_key = random_bytes()?;
        let context = binding.authenticated(SECRET, id);
        let (nonce, sealed) = encrypt(&cipher(&data_key)?, secret.as_bytes(), &context)?;
        let context = binding.authenticated(DATA_KEY, id);
        let (wrap_nonce, wrapped) = encrypt(&wrapping, data_key.expose_secret(), &context)?;
        Ok(Envelope::of(id.clone(), [wrap_nonce.as_ref(), &wrapped], [nonce.as_ref(), &sealed]))
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.keys.keys().map(KeyId::as_str).collect();
        f.debug_struct("Keyring")
            .field("primary", &self.primary.as_str())
            .field("keys", &names)
            .finish()
    }
}

/// A random nonce, and the text with its tag.
fn encrypt(
    cipher: &RandomizedNonceKey,
    plain: &[u8],
    context: &[u8],
) -> Result<(Nonce, Vec<u8>), Unspecified> {
    let mut text = plain.to_vec();
    let (nonce, tag) = cipher.seal_in_place_separate_tag(Aad::from(context), &mut text)?;
    text.extend_from_slice(tag.as_ref());
    Ok((nonce, text))
}

/// The plain bytes, erased when they are dropped.
fn decrypt(
    cipher: &RandomizedNonceKey,
    (nonce, text): (&[u8], &[u8]),
    context: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Unspecified> {
    let nonce = Nonce::try_assume_unique_for_key(nonce)?;
    let mut text = Zeroizing::new(text.to_vec());
    let length = cipher.open_in_place(nonce, Aad::from(context), &mut text)?.len();
    text.truncate(length);
    Ok(text)
}
