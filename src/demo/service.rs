//! The service under the demo: the real [`App`] on a thread and runtime of its own, as `serve` runs it.
//!
//! Starts it, asks it how it is and stops it in order; decides nothing.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use secrecy::SecretString;
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::admin::tokens::shown_once;
use crate::app::{App, AppError, TopicCheck};
use crate::config::Config;
use crate::engine::snapshot::Snapshot;
use crate::kafka::topics::Ready;
use crate::shutdown::Shutdown;
use crate::telemetry::Status;

/// Between two looks whether the console is there.
const LOOK: Duration = Duration::from_millis(10);

/// The running service.
#[derive(Debug)]
pub(super) struct Service {
    shutdown: Shutdown,
    status: Status,
    console: Option<SocketAddr>,
    set_up_token: Option<SecretString>,
    thread: JoinHandle<Result<(), AppError>>,
}

impl Service {
    /// Starts it on topics that have just been made.
    pub(super) async fn start(config: Config, topics: Ready) -> Result<Self, AppError> {
        let console = config.admin.listen;
        let shutdown = Shutdown::new(&config.shutdown);
        let (tell, told) = oneshot::channel();
        let asked = shutdown.clone();
        let run = move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let app = App::build(config, TopicCheck::Trust(topics), asked).await?;
                // The demo waits for it, unless it has been told to end.
                let _ = tell.send((app.status(), app.set_up_token().cloned()));
                app.run().await
            })
        };
        let thread = std::thread::Builder::new().name("service".to_owned()).spawn(run)?;
        match told.await {
            Ok((status, set_up_token)) => {
                let service = Self { shutdown, status, console, set_up_token, thread };
                service.wait_for_console().await;
                Ok(service)
            }
            Err(_) => Err(end_of(thread).err().unwrap_or_else(ended_early)),
        }
    }

    /// Waits until its console takes connections: whoever is told the link may follow it at once.
    async fn wait_for_console(&self) {
        let Some(address) = self.console else { return };
        while !self.is_over() && TcpStream::connect(address).await.is_err() {
            sleep(LOOK).await;
        }
    }

    /// Whether it reads events and tiers.
    pub(super) fn is_ready(&self) -> bool {
        *self.status.table.borrow()
            && self.status.events.load(Ordering::Acquire)
            && self.status.retries.load(Ordering::Acquire)
    }

    /// Where its console is, signed in: the token stands behind the `#`, which no browser sends or logs.
    pub(super) fn console_link(&self) -> Option<String> {
        let token = self.set_up_token.as_ref()?;
        Some(format!("http://{}/sign-in#{}", self.console?, shown_once(token)))
    }

    /// Its lanes, where it has any yet.
    pub(super) async fn snapshot(&self) -> Snapshot {
        match self.status.shards.get() {
            Some(shards) => shards.snapshot().await,
            None => Snapshot::default(),
        }
    }

    /// Asks it to stop in order.
    pub(super) fn ask_to_stop(&self) {
        self.shutdown.ask();
    }

    /// Whether it has ended, asked or not.
    pub(super) fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// How it ended.
    pub(super) fn end(self) -> Result<(), AppError> {
        let was_asked = self.shutdown.is_asked();
        end_of(self.thread)?;
        if was_asked { Ok(()) } else { Err(ended_early()) }
    }
}

fn end_of(thread: JoinHandle<Result<(), AppError>>) -> Result<(), AppError> {
    let panicked = || io::Error::other("the service panicked");
    thread.join().map_err(|_| panicked())?
}

fn ended_early() -> AppError {
    AppError::Ended { part: "the service", reason: "nobody asked it to".to_owned() }
}
