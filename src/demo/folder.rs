//! The demo's folder: the receiver's certificate and the service's log.
//!
//! Made anew for each run below the system's folder for such things, for this user alone. It goes away at the end
//! unless something was logged.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Mutex;

use tracing::level_filters::LevelFilter;

/// How many names are tried: others may have left theirs behind.
const NAMES: u32 = 1000;

/// A folder that is ours.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes it.
    pub(super) fn make() -> io::Result<Self> {
        let parent = std::env::temp_dir();
        let mut last = io::ErrorKind::AlreadyExists.into();
        for number in 0..NAMES {
            let path = parent.join(format!("barnabas-demo-{}-{number}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// Where the authority's certificate is.
    pub(super) fn ca_file(&self) -> PathBuf {
        self.path.join("ca.pem")
    }

    /// Where the log is.
    pub(super) fn log_file(&self) -> PathBuf {
        self.path.join("barnabas.log")
    }

    /// Whether something was logged.
    pub(super) fn has_log(&self) -> bool {
        fs::metadata(self.log_file()).is_ok_and(|file| file.len() > 0)
    }

    /// Sends the process's warnings and errors to the log, so that they do not tear the table.
    pub(super) fn start_log(&self) -> io::Result<()> {
        let file = File::create(self.log_file())?;
        let lines = tracing_subscriber::fmt()
            .with_writer(Mutex::new(file))
            .with_ansi(false)
            .with_max_level(LevelFilter::WARN);
        // An error says that this process logs already, which is what was asked for.
        let _ = lines.try_init();
        Ok(())
    }

    /// Removes what nobody needs any more.
    pub(super) fn clear(&self) {
        // What cannot be removed is left to the system, which clears its folder for such things.
        let _ = fs::remove_file(self.ca_file());
        if !self.has_log() {
            let _ = fs::remove_file(self.log_file());
            let _ = fs::remove_dir(&self.path);
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_folders_are_never_the_same_and_go_away() {
        let (one, other) = (Folder::make().unwrap(), Folder::make().unwrap());
        assert_ne!(one.path, other.path);
        let path = one.path.clone();
        fs::write(one.ca_file(), "x").unwrap();
        drop(one);
        assert!(!path.exists());
    }

    #[test]
    fn what_was_logged_stays() {
        let folder = Folder::make().unwrap();
        let path = folder.log_file();
        fs::write(&path, "a warning").unwrap();
        drop(folder);
        assert!(path.exists());
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}
