//! The keyring's file: JSON, readable by its owner alone.
//!
//! ```json
//! {"format": 1, "primary": "k2", "keys": [{"id": "k2", "created_at": 1759900000, "key": "<32 bytes in base64>"}]}
//! ```
//!
//! Every fault names the file and what to do, and nothing of its text. A change replaces the whole file at once, so
//! that nobody reads a half of it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretBox};
use serde::{Deserialize, Serialize};

use super::key::{KEY_BYTES, Key, KeyId, KeyIdError};
use super::keyring::Keyring;

/// The only version of the format.
const FORMAT: u32 = 1;
/// A thousand keys; a larger file is no keyring.
const MAX_FILE_BYTES: u64 = 256 * 1024;
/// Read and write for the owner, nothing for others.
const OWNER_ONLY: u32 = 0o600;
/// What group and others may.
const OTHERS: u32 = 0o077;

/// Why a keyring file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// It cannot be read.
    #[error("the keyring {path} cannot be read: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others than its owner may read or change it.
    #[error("the keyring {path} has the mode {mode:03o}, and only its owner may use it: chmod 600")]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Its text is not a keyring's.
    #[error("the keyring {path} is not valid: {fault}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The rule that it breaks.
        fault: Invalid,
    },
    /// It cannot be written.
    #[error("the keyring {path} cannot be written: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A new one is not written over another.
    #[error("{0} exists already; a keyring is never overwritten")]
    Exists(PathBuf),
}

/// What is wrong with a keyring's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Not the JSON that it should be.
    #[error("it is not a keyring's JSON (line {line}, column {column})")]
    Json {
        /// Where, from 1.
        line: usize,
        /// Where, from 1.
        column: usize,
    },
    /// Of another version.
    #[error("its format is {0}, and this program knows only {FORMAT}")]
    Format(u32),
    /// A name that cannot be one.
    #[error("{0}")]
    Id(#[from] KeyIdError),
    /// Two keys of one name.
    #[error("the key {0} is there twice")]
    Doubled(KeyId),
    /// Not 32 bytes in base64.
    #[error("the key {0} is not {KEY_BYTES} bytes in base64")]
    Key(KeyId),
    /// The primary key is not among the keys.
    #[error("the primary key {0} is not among its keys")]
    Primary(KeyId),
}

impl Keyring {
    /// Reads a keyring file.
    ///
    /// # Errors
    /// [`KeyringError`].
    pub fn read(path: &Path) -> Result<Self, KeyringError> {
        Self::of_text(path, &text_of(path)?)
    }

    /// From the text of a keyring file.
    ///
    /// # Errors
    /// [`Invalid`].
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let document: Document = serde_json::from_str(text)
            .map_err(|error| Invalid::Json { line: error.line(), column: error.column() })?;
        if document.format != FORMAT {
            return Err(Invalid::Format(document.format));
        }
        let mut keys = BTreeMap::new();
        for entry in &document.keys {
            let id: KeyId = entry.id.parse()?;
            let bytes = bytes_of(&entry.key).ok_or_else(|| Invalid::Key(id.clone()))?;
            let key = Key { bytes, created_at: entry.created_at };
            if keys.insert(id.clone(), key).is_some() {
                return Err(Invalid::Doubled(id));
            }
        }
        let primary: KeyId = document.primary.parse()?;
        if !keys.contains_key(&primary) {
            return Err(Invalid::Primary(primary));
        }
        Ok(Self { primary, keys })
    }

    /// Writes a new file, for its owner alone.
    ///
    /// # Errors
    /// [`KeyringError::Exists`], [`KeyringError::Write`].
    pub fn create(&self, path: &Path) -> Result<(), KeyringError> {
        write_new(path, &self.render()).map_err(|source| {
            if source.kind() == io::ErrorKind::AlreadyExists {
                return KeyringError::Exists(path.to_owned());
            }
            KeyringError::Write { path: path.to_owned(), source }
        })
    }

    /// Replaces the file at once by another beside it.
    ///
    /// # Errors
    /// [`KeyringError::Write`].
    pub fn replace(&self, path: &Path) -> Result<(), KeyringError> {
        let failed = |source| KeyringError::Write { path: path.to_owned(), source };
        // A link stays a link: what it points to is replaced.
        let path = fs::canonicalize(path).map_err(failed)?;
        let mut beside = path.clone().into_os_string();
        beside.push(format!(".{}.new", std::process::id()));
        let beside = PathBuf::from(beside);
        write_new(&beside, &self.render()).map_err(failed)?;
        fs::rename(&beside, &path).map_err(|source| {
            // It holds keys. If it cannot be removed either, the first error is the one to tell.
            let _ = fs::remove_file(&beside);
            failed(source)
        })
    }

    /// From the text of that file.
    pub(super) fn of_text(path: &Path, text: &str) -> Result<Self, KeyringError> {
        let invalid = |fault| KeyringError::Invalid { path: path.to_owned(), fault };
        Self::parse(text).map_err(invalid)
    }

    fn render(&self) -> Zeroizing<String> {
        let entry = |(id, key): (&KeyId, &Key)| Entry {
            id: id.as_str().to_owned(),
            created_at: key.created_at,
            key: Zeroizing::new(STANDARD.encode(key.bytes.expose_secret())),
        };
        let document = Document {
            format: FORMAT,
            primary: self.primary.as_str().to_owned(),
            keys: self.keys.iter().map(entry).collect(),
        };
        let text = serde_json::to_string_pretty(&document).expect("texts and numbers are JSON");
        Zeroizing::new(text + "\n")
    }
}

/// The text of a keyring file that its owner alone may use.
pub(super) fn text_of(path: &Path) -> Result<Zeroizing<String>, KeyringError> {
    let failed = |source| KeyringError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(KeyringError::Mode { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_FILE_BYTES).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(path)?;
    // What is sealed with a key that a power cut has taken is lost.
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).inspect_err(|_| {
        // A half of a keyring is worth nothing, and would stand in the way of the next try.
        let _ = fs::remove_file(path);
    })
}

fn bytes_of(key: &str) -> Option<SecretBox<[u8; KEY_BYTES]>> {
    let bytes = Zeroizing::new(STANDARD.decode(key).ok()?);
    let bytes: &[u8; KEY_BYTES] = bytes.as_slice().try_into().ok()?;
    Some(SecretBox::init_with_mut(|own: &mut [u8; KEY_BYTES]| *own = *bytes))
}

/// The file; private, for it shows the keys.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    primary: String,
    keys: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    /// UNIX seconds.
    created_at: u64,
    #[serde(with = "plain")]
    key: Zeroizing<String>,
}

/// A key's text in the file and nowhere else.
mod plain {
    use secrecy::zeroize::Zeroizing;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        key: &Zeroizing<String>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(key)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Zeroizing<String>, D::Error> {
        String::deserialize(deserializer).map(Zeroizing::new)
    }
}
