//! Who may use the API: tokens, each with a role and the projects that it is for.
//!
//! A token is `bnb_<id>.<secret>`. The secret has 256 bits and only its SHA-256 is kept, so that a stolen file opens
//! nothing. The file is read again when it changes. Without a file there is one token that lives as long as the process.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tracing::{info, warn};
use utoipa::ToSchema;

use crate::engine::time::Timestamp;

/// What every token begins with, so that scanners for leaked secrets know it.
const PREFIX: &str = "bnb_";
/// 256 bits.
const SECRET_BYTES: usize = 32;
/// The longest id.
const MAX_ID_BYTES: usize = 32;
/// The file is looked at so often at most.
const LOOK: Duration = Duration::from_secs(1);
/// The id of the token that needs no file.
const SET_UP_ID: &str = "set-up";
/// In place of a project: all of them.
pub const EVERY_PROJECT: &str = "*";

/// What a token may do; each role includes those before it.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    ToSchema,
    clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Looks at connections and health; sees no payloads.
    Viewer,
    /// Changes connections.
    Editor,
    /// Deletes, redrives and replays.
    Operator,
}

/// A token as the file keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Its name, which the audit log shows: 1–32 of a–z, 0–9, `_` and `-`.
    pub id: String,
    /// The SHA-256 of its secret, in hex.
    pub sha256: String,
    /// What it may do.
    pub role: Role,
    /// The projects that it is for; `*` is all of them.
    pub projects: Vec<String>,
    /// When it was made, in UNIX seconds.
    pub created_at: u64,
    /// From when on it is refused, in UNIX seconds; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
}

/// Why tokens cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// The file cannot be read or written.
    #[error("the tokens file {path}: {source}")]
    File {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is no tokens file.
    #[error("the tokens file {path} cannot be used: {reason}")]
    Content {
        /// Its path.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The id of a new token is none.
    #[error("`{0}` is no token id; write 1-32 of a-z, 0-9, _ and -")]
    BadId(String),
    /// The system gives no random numbers.
    #[error("no random numbers: {0}")]
    Random(getrandom::Error),
}

impl Token {
    /// Makes a token and the text that proves it, which is shown once and kept nowhere.
    ///
    /// # Errors
    /// [`TokensError::BadId`] or [`TokensError::Random`].
    pub fn generate(
        id: &str,
        role: Role,
        projects: Vec<String>,
        now: Timestamp,
        lifetime: Option<Duration>,
    ) -> Result<(Self, SecretString), TokensError> {
        if !is_id(id) {
            return Err(TokensError::BadId(id.to_owned()));
        }
        let secret = random_text()?;
        let token = Self {
            id: id.to_owned(),
            sha256: digest(&secret),
            role,
            projects,
            created_at: now.as_secs(),
            expires_at: lifetime.map(|lifetime| (now + lifetime).as_secs()),
        };
        Ok((token, format!("{PREFIX}{id}.{secret}").into()))
    }

    /// Whether it is for that project.
    #[must_use]
    pub fn covers(&self, project: &str) -> bool {
        self.projects.iter().any(|own| own == EVERY_PROJECT || own == project)
    }

    /// Whether its time is over.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| now.as_secs() >= end)
    }

    /// How audit records and connections name it.
    #[must_use]
    pub fn author(&self) -> String {
        format!("token:{}", self.id)
    }

    fn fault(&self) -> Option<String> {
        let id = &self.id;
        if !is_id(id) {
            return Some(format!("`{id}` is no token id"));
        }
        if self.sha256.len() != 64 || !self.sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Some(format!("the sha256 of `{id}` is no SHA-256 in hex"));
        }
        self.projects.is_empty().then(|| format!("`{id}` is for no project"))
    }
}

/// The content of a tokens file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokensFile {
    /// In the order in which they were made.
    pub tokens: Vec<Token>,
}

impl TokensFile {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`TokensError`].
    pub fn load(path: &Path) -> Result<Self, TokensError> {
        let file = |source| TokensError::File { path: path.to_owned(), source };
        let content = |reason| TokensError::Content { path: path.to_owned(), reason };
        let text = fs::read_to_string(path).map_err(file)?;
        let read: Self = serde_json::from_str(&text).map_err(|error| content(error.to_string()))?;
        let mut seen = std::collections::BTreeSet::new();
        for token in &read.tokens {
            if let Some(fault) = token.fault() {
                return Err(content(fault));
            }
            if !seen.insert(&token.id) {
                return Err(content(format!("`{}` stands twice", token.id)));
            }
        }
        Ok(read)
    }

    /// Replaces a file in one step, readable by its owner alone.
    ///
    /// # Errors
    /// [`TokensError::File`].
    pub fn save(&self, path: &Path) -> Result<(), TokensError> {
        let mut text = serde_json::to_string_pretty(self).expect("tokens are plain data");
        text.push('\n');
        let fresh = path.with_extension(format!("new-{}", std::process::id()));
        let write = || {
            let mut options = fs::OpenOptions::new();
            let mut file =
                options.write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&fresh, path)
        };
        write().map_err(|source| TokensError::File { path: path.to_owned(), source })
    }
}

/// All tokens, as they are now.
#[derive(Debug)]
pub struct Tokens {
    file: Option<PathBuf>,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    tokens: BTreeMap<String, Arc<Token>>,
    looked_at: Instant,
    version: Option<Version>,
}

/// What tells one version of a file from another.
type Version = (SystemTime, u64);

impl Tokens {
    /// Reads the tokens of a file.
    ///
    /// # Errors
    /// [`TokensError`].
    pub fn open(path: &Path) -> Result<Self, TokensError> {
        let version = version_of(path);
        let tokens = by_id(TokensFile::load(path)?);
        let held = Held { tokens, looked_at: Instant::now(), version };
        Ok(Self { file: Some(path.to_owned()), held: Mutex::new(held) })
    }

    /// One token for everything, good until the process ends, and the text that proves it.
    ///
    /// # Errors
    /// [`TokensError::Random`].
    pub fn for_set_up(now: Timestamp) -> Result<(Self, SecretString), TokensError> {
        let every = vec![EVERY_PROJECT.to_owned()];
        let (token, text) = Token::generate(SET_UP_ID, Role::Operator, every, now, None)?;
        let tokens = by_id(TokensFile { tokens: vec![token] });
        let held = Held { tokens, looked_at: Instant::now(), version: None };
        Ok((Self { file: None, held: Mutex::new(held) }, text))
    }

    /// The token that a text proves, if it is known and its time is not over.
    #[must_use]
    pub fn authenticate(&self, text: &str, now: Timestamp) -> Option<Arc<Token>> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('.')?;
        let token = self.find(id)?;
        let is_right: bool = digest(secret).as_bytes().ct_eq(token.sha256.as_bytes()).into();
        (is_right && !token.is_expired(now)).then_some(token)
    }

    /// The token as it is now; `None` if it was revoked, replaced or is expired.
    #[must_use]
    pub fn renew(&self, token: &Token, now: Timestamp) -> Option<Arc<Token>> {
        self.find(&token.id).filter(|found| found.sha256 == token.sha256 && !found.is_expired(now))
    }

    fn find(&self, id: &str) -> Option<Arc<Token>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = &self.file {
            held.refresh(path);
        }
        held.tokens.get(id).cloned()
    }
}

impl Held {
    /// Reads the file again if it has changed. One that cannot be read changes nothing: a typing error locks nobody out.
    fn refresh(&mut self, path: &Path) {
        if self.looked_at.elapsed() < LOOK {
            return;
        }
        self.looked_at = Instant::now();
        let version = version_of(path);
        if version == self.version {
            return;
        }
        self.version = version;
        match TokensFile::load(path) {
            Ok(file) => {
                self.tokens = by_id(file);
                info!(tokens = self.tokens.len(), "the tokens are read again");
            }
            Err(error) => warn!(%error, "the tokens stay as they are"),
        }
    }
}

/// A random text of 256 bits, for a secret.
///
/// # Errors
/// [`TokensError::Random`].
pub fn random_text() -> Result<String, TokensError> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).map_err(TokensError::Random)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// The SHA-256 of a secret, in hex.
#[must_use]
pub fn digest(secret: &str) -> String {
    Sha256::digest(secret.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The text of a secret that is about to be shown once.
#[must_use]
pub fn shown_once(secret: &SecretString) -> &str {
    secret.expose_secret()
}

fn by_id(file: TokensFile) -> BTreeMap<String, Arc<Token>> {
    file.tokens.into_iter().map(|token| (token.id.clone(), Arc::new(token))).collect()
}

fn version_of(path: &Path) -> Option<Version> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn is_id(text: &str) -> bool {
    let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    (1..=MAX_ID_BYTES).contains(&text.len()) && text.bytes().all(is_plain)
}

#[cfg(test)]
mod tests;
