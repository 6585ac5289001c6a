//! A long-lived thread, and how its end becomes known.

use std::fmt::Display;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, JoinHandle};

use tokio::sync::mpsc;
use tracing::error;

/// A thread that says so when it ends.
#[derive(Debug)]
pub(super) struct Part {
    name: &'static str,
    thread: JoinHandle<()>,
}

/// Which part ended, and why if that was an error.
pub(super) type End = (&'static str, Option<String>);

impl Part {
    /// Starts a thread that reports its end, a panic included.
    pub(super) fn start<E: Display>(
        name: &'static str,
        ends: &mpsc::Sender<End>,
        run: impl FnOnce() -> Result<(), E> + Send + 'static,
    ) -> io::Result<Self> {
        let ends = ends.clone();
        let body = move || {
            let end = match catch_unwind(AssertUnwindSafe(run)) {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some("it panicked".to_owned()),
            };
            // Nobody listens any more when everything is asked to stop.
            let _ = ends.try_send((name, end));
        };
        Ok(Self { name, thread: thread::Builder::new().name(name.to_owned()).spawn(body)? })
    }

    /// Waits for its end.
    pub(super) fn join(self) {
        if self.thread.join().is_err() {
            error!(part = self.name, "it panicked while stopping");
        }
    }
}
