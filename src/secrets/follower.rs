//! The keyring in force, which follows its file without a restart.
//!
//! One part of the service owns the [`KeyringFollower`] and looks at the file now and then; everybody else holds a
//! [`SharedKeyring`]. A file that cannot be used changes nothing: the keyring in force stays.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::file::{KeyringError, text_of};
use super::keyring::Keyring;

/// The keyring in force; cheap to clone.
#[derive(Clone, Debug)]
pub struct SharedKeyring(watch::Receiver<Arc<Keyring>>);

impl SharedKeyring {
    /// The keyring as it is now. For one piece of work, not for keeping.
    #[must_use]
    pub fn current(&self) -> Arc<Keyring> {
        Arc::clone(&self.0.borrow())
    }
}

/// Reads the file again and again.
#[derive(Debug)]
pub struct KeyringFollower {
    path: PathBuf,
    ring: watch::Sender<Arc<Keyring>>,
    /// Of the text in force: the whole text is compared, because a change within a clock's tick keeps the file's time.
    digest: [u8; 32],
    /// What was last said of a file that cannot be used; it is said once.
    fault: Option<String>,
}

/// What a look at the file has shown.
#[derive(Debug)]
pub enum Refresh {
    /// Nothing new.
    Unchanged,
    /// Another keyring is in force now.
    Changed,
    /// The file cannot be used, which is news; the keyring in force stays.
    Refused(KeyringError),
}

impl KeyringFollower {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// [`KeyringError`]: without a keyring there is nothing to go on with.
    pub fn open(path: &Path) -> Result<Self, KeyringError> {
        let (digest, keyring) = load(path)?;
        let (ring, _) = watch::channel(Arc::new(keyring));
        Ok(Self { path: path.to_owned(), ring, digest, fault: None })
    }

    /// What others hold.
    #[must_use]
    pub fn handle(&self) -> SharedKeyring {
        SharedKeyring(self.ring.subscribe())
    }

    /// Looks at the file. To be called every few seconds.
    pub fn refresh(&mut self) -> Refresh {
        let (digest, keyring) = match load(&self.path) {
            Ok(loaded) => loaded,
            Err(error) => return self.refuse(error),
        };
        self.fault = None;
        if digest == self.digest {
            return Refresh::Unchanged;
        }
        self.digest = digest;
        self.ring.send_replace(Arc::new(keyring));
        Refresh::Changed
    }

    fn refuse(&mut self, error: KeyringError) -> Refresh {
        let fault = Some(error.to_string());
        if self.fault == fault {
            return Refresh::Unchanged;
        }
        self.fault = fault;
        Refresh::Refused(error)
    }
}

fn load(path: &Path) -> Result<([u8; 32], Keyring), KeyringError> {
    let text = text_of(path)?;
    let keyring = Keyring::of_text(path, &text)?;
    Ok((Sha256::digest(text.as_bytes()).into(), keyring))
}
