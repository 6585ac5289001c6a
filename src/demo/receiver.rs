//! A real webhook receiver over TLS that misbehaves on demand.
//!
//! Each path is an endpoint with a [`Behaviour`] and [`Credentials`] that can be changed while it runs; every POST is
//! entered in the books before it is answered. It runs on a thread and runtime of its own, so that plain and async
//! callers use it alike, and dropping it stops it. It is never part of the service: `barnabas listen`, the demo and
//! the integration tests start it.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use barnabas::demo::receiver::{Authority, Behaviour, Credentials, Keep, Receiver};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let authority = Authority::generate()?;
//! let receiver = Receiver::start("127.0.0.1:0".parse()?, Keep::Receipts, &authority)?;
//! receiver.set_behaviour("/crm", Behaviour::Flaky { share: 0.2 });
//! receiver.set_credentials("/crm", &Credentials::basic("xp", "secret"));
//! receiver.wait_for("/crm", 100, Duration::from_secs(10))?;
//! # Ok(()) }
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use std::{fmt, io};

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use self::exchange::{FAREWELL_LIMIT, Hall};
use self::ledger::Ledger;

mod authority;
mod behaviour;
mod exchange;
mod ledger;

pub use self::authority::Authority;
pub use self::behaviour::{Behaviour, Credentials};
pub use self::ledger::{Counts, ELSEWHERE, Keep, Late, Receipt};

/// How long the accept loop rests when the process has no file descriptor left.
const ACCEPT_REST: Duration = Duration::from_millis(10);

/// Why a receiver cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ReceiverError {
    /// A key or a certificate could not be made.
    #[error("making a certificate failed: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The certificate could not be put to use.
    #[error("setting up TLS failed: {0}")]
    Tls(#[from] rustls::Error),
    /// The address is not to be had.
    #[error("listening on {address} failed: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// No thread or no runtime.
    #[error("starting the receiver's thread failed: {0}")]
    Thread(#[source] io::Error),
    /// The authority's certificate could not be written.
    #[error("writing {} failed: {source}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// A running receiver.
pub struct Receiver {
    address: SocketAddr,
    ca_pem: String,
    ledger: Arc<Ledger>,
    stop: CancellationToken,
    /// `Some` until it is joined.
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    /// Listens, with a certificate of `authority`; port 0 takes a free one. When this returns, clients may connect.
    ///
    /// A path without a behaviour of its own is answered 404, see [`ELSEWHERE`].
    ///
    /// # Errors
    /// [`ReceiverError`] where the address, the certificate or the thread is not to be had.
    pub fn start(
        listen: SocketAddr,
        keep: Keep,
        authority: &Authority,
    ) -> Result<Self, ReceiverError> {
        let acceptor = TlsAcceptor::from(Arc::new(authority.server_config(listen.ip())?));
        let failed = |source| ReceiverError::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;

        let runtime =
            Builder::new_current_thread().enable_all().build().map_err(ReceiverError::Thread)?;
        let ledger = Arc::new(Ledger::new(keep));
        let stop = CancellationToken::new();
        let hall = Hall { acceptor, ledger: Arc::clone(&ledger), stop: stop.clone() };
        let thread = std::thread::Builder::new()
            .name("receiver".to_owned())
            .spawn(move || run(&runtime, listener, &hall))
            .map_err(ReceiverError::Thread)?;
        Ok(Self { address, ca_pem: authority.pem(), ledger, stop, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate for `egress.ca_file`.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Where this machine reaches it: [`address`](Self::address), or the loopback where it listens on all addresses.
    #[must_use]
    pub const fn reachable_address(&self) -> SocketAddr {
        let ip = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
        };
        SocketAddr::new(ip, self.address.port())
    }

    /// The URL of a path that begins with `/`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.reachable_address())
    }

    /// What the endpoint does from now on; [`ELSEWHERE`] sets it for all paths that have none.
    pub fn set_behaviour(&self, path: &str, behaviour: Behaviour) {
        self.ledger.set_behaviour(path, behaviour);
    }

    /// Whom the endpoint lets in from now on; others are answered 401.
    pub fn set_credentials(&self, path: &str, credentials: &Credentials) {
        self.ledger.set_credentials(path, credentials);
    }

    /// The endpoint's receipts so far, in the order of arrival; empty unless [`Keep::Receipts`] was asked for.
    #[must_use]
    pub fn receipts(&self, path: &str) -> Vec<Receipt> {
        self.ledger.receipts(path)
    }

    /// The endpoint's requests in numbers; cheap.
    #[must_use]
    pub fn counts(&self, path: &str) -> Counts {
        self.ledger.counts(path)
    }

    /// How many TCP connections were accepted, whatever became of them.
    #[must_use]
    pub fn connections_accepted(&self) -> u64 {
        self.ledger.connections()
    }

    /// Blocks this thread until the endpoint has had so many requests, answered or not.
    ///
    /// # Errors
    /// [`Late`] after `timeout`.
    pub fn wait_for(&self, path: &str, requests: u64, timeout: Duration) -> Result<Counts, Late> {
        self.wait_until(path, timeout, |counts| counts.requests >= requests)
    }

    /// Blocks this thread until the endpoint's counts satisfy `reached`.
    ///
    /// # Errors
    /// [`Late`] after `timeout`.
    pub fn wait_until(
        &self,
        path: &str,
        timeout: Duration,
        reached: impl Fn(&Counts) -> bool,
    ) -> Result<Counts, Late> {
        self.ledger.wait(path, timeout, reached)
    }

    /// [`wait_until`](Self::wait_until) for a task, which does not hold up its runtime.
    ///
    /// # Errors
    /// [`Late`] after `timeout`.
    pub async fn reach(
        &self,
        path: &str,
        timeout: Duration,
        reached: impl Fn(&Counts) -> bool,
    ) -> Result<Counts, Late> {
        let late =
            || Late { path: path.to_owned(), counts: self.ledger.counts(path), waited: timeout };
        tokio::time::timeout(timeout, self.ledger.reach(path, reached)).await.map_err(|_| late())
    }
}

impl Drop for Receiver {
    /// Closes the listener, lets answers that are under way go out, cuts off what hangs (after 0.1 s), and waits for
    /// the thread's end.
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // It ends with a panic only where a test has already been told by a missing receipt.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("address", &self.address)
            .field("connections_accepted", &self.connections_accepted())
            .finish_non_exhaustive()
    }
}

/// The receiver's thread.
fn run(runtime: &Runtime, listener: TcpListener, hall: &Hall) {
    runtime.block_on(async {
        // Fails only outside a runtime or for a blocking socket; this is neither.
        if let Ok(listener) = tokio::net::TcpListener::from_std(listener) {
            accept_all(listener, hall).await;
        }
    });
}

async fn accept_all(listener: tokio::net::TcpListener, hall: &Hall) {
    let mut exchanges = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = hall.stop.cancelled() => break,
            accepted = listener.accept() => accepted,
            Some(_) = exchanges.join_next() => continue,
        };
        let Ok((socket, _)) = accepted else {
            tokio::time::sleep(ACCEPT_REST).await;
            continue;
        };
        hall.ledger.count_connection();
        exchanges.spawn(exchange::serve(socket, hall.clone()));
    }
    drop(listener);
    // Each ends within this time by itself, except one that is still shaking hands.
    let _ = tokio::time::timeout(FAREWELL_LIMIT * 2, async {
        while exchanges.join_next().await.is_some() {}
    })
    .await;
    exchanges.shutdown().await;
}

#[cfg(test)]
mod tests;
