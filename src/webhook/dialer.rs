//! The one place that opens a socket to a receiver.
//!
//! Resolves the endpoint's host, puts *every* address before the address rule, connects to a vetted
//! one only, puts the connected peer before the rule once more and makes the TLS handshake. It never
//! reuses a link, follows a redirect or asks the environment for a proxy. [`super::client`] is the
//! only caller. The guard stands here and not in a filtering resolver, because a resolver is never
//! asked about IP literals and decides before, not at, the connect.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::resolver::{LookupError, Resolver};
use crate::engine::address::{AddressError, AddressRule, Endpoint, Host, MAX_ADDRESSES};

/// How long connecting and the handshake may take together.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// The least time that one address of several gets: a SYN may be lost once and is repeated after 1 s.
const ADDRESS_LIMIT: Duration = Duration::from_millis(1200);

/// How long a handshake may occupy its place among the limited ones. The limit is there to keep
/// bursts of cryptography away from the warm links; a handshake that takes longer is waiting for
/// its receiver and costs nothing, and must not keep others from connecting.
const PLACE_LIMIT: Duration = Duration::from_millis(250);

/// "Too many open files" of this process, on Linux and the BSDs.
const EMFILE: i32 = 24;
/// "Too many open files" of the host, on Linux and the BSDs.
const ENFILE: i32 = 23;
/// "No buffer space available", on Linux.
const ENOBUFS: i32 = 105;

/// Why no link came about.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    /// The address rule refused; no packet went to the address.
    #[error("the egress guard refused: {0}")]
    Denied(#[from] AddressError),
    /// No address.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// No TCP connection.
    #[error("connecting failed: {0}")]
    Connect(io::Error),
    /// The handshake failed.
    #[error("the TLS handshake failed: {0}")]
    Tls(io::Error),
    /// This host has no more descriptors, memory or ports.
    #[error("this host is out of resources: {0}")]
    Exhausted(io::Error),
    /// The attempt's time was over before one of our places for a handshake came free.
    #[error("too many handshakes are under way")]
    Crowded,
}

impl DialError {
    fn of_connect(error: io::Error, address: IpAddr) -> Self {
        let kind = error.kind();
        let is_exhausted = kind == io::ErrorKind::OutOfMemory
            // For IPv6 it says that this host has no IPv6, which no waiting will mend.
            || (kind == io::ErrorKind::AddrNotAvailable && address.is_ipv4())
            || matches!(error.raw_os_error(), Some(EMFILE | ENFILE | ENOBUFS));
        if is_exhausted { Self::Exhausted(error) } else { Self::Connect(error) }
    }
}

/// Opens guarded TLS connections.
pub struct Dialer {
    rule: Arc<AddressRule>,
    tls: TlsConnector,
    resolver: Resolver,
    /// Places for handshakes; see [`PLACE_LIMIT`].
    places: Semaphore,
}

impl Dialer {
    /// A dialer under this rule that makes at most `handshakes` handshakes at a time.
    #[must_use]
    pub fn new(
        rule: Arc<AddressRule>,
        tls: Arc<ClientConfig>,
        resolver: Resolver,
        handshakes: usize,
    ) -> Self {
        let places = Semaphore::new(handshakes);
        Self { rule, tls: TlsConnector::from(tls), resolver, places }
    }

    /// A TLS connection to a vetted address of the endpoint. `deadline` is the attempt's: waiting
    /// for a place ends there.
    pub(super) async fn dial(
        &self,
        endpoint: &Endpoint,
        deadline: Instant,
    ) -> Result<TlsStream<TcpStream>, DialError> {
        let addresses = self.vetted_addresses(endpoint.host()).await?;
        let started = Instant::now();
        let stream = connect(&addresses, endpoint.port()).await?;
        let peer = stream.peer_addr().map_err(DialError::Connect)?;
        self.rule.check_address(endpoint.host(), peer.ip())?;
        let left = CONNECT_LIMIT.saturating_sub(started.elapsed());
        self.handshake(endpoint.host(), stream, left, deadline).await
    }

    /// All addresses of the host, in the order in which to try them; one denied refuses them all.
    async fn vetted_addresses(&self, host: &Host) -> Result<Vec<IpAddr>, DialError> {
        let addresses = match host {
            Host::Address(ip) => vec![*ip],
            Host::Name(name) => self.resolver.lookup(name).await?,
        };
        let count = addresses.len();
        if count > MAX_ADDRESSES {
            return Err(AddressError::TooManyAddresses { count, limit: MAX_ADDRESSES }.into());
        }
        for address in &addresses {
            self.rule.check_address(host, *address)?;
        }
        Ok(addresses)
    }

    async fn handshake(
        &self,
        host: &Host,
        stream: TcpStream,
        left: Duration,
        deadline: Instant,
    ) -> Result<TlsStream<TcpStream>, DialError> {
        let server = server_name(host).map_err(DialError::Tls)?;
        let Ok(place) = timeout_at(deadline, self.places.acquire()).await else {
            return Err(DialError::Crowded);
        };
        let handshake = timeout(left, self.tls.connect(server, stream));
        tokio::pin!(handshake);
        let done = timeout(PLACE_LIMIT, &mut handshake).await;
        drop(place);
        let done = match done {
            Ok(done) => done,
            Err(_) => handshake.await,
        };
        done.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(DialError::Tls)
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").field("rule", &self.rule).finish_non_exhaustive()
    }
}

/// Connects to the first address that takes the connection. Each gets its share of the time.
async fn connect(addresses: &[IpAddr], port: u16) -> Result<TcpStream, DialError> {
    let limit = Instant::now() + CONNECT_LIMIT;
    let mut last = DialError::Connect(io::ErrorKind::TimedOut.into());
    for (address, untried) in addresses.iter().zip((1..=addresses.len() as u32).rev()) {
        let left = limit.saturating_duration_since(Instant::now());
        let share = (left / untried).max(ADDRESS_LIMIT).min(left);
        let address = address.to_canonical();
        let error = match timeout(share, connect_to(SocketAddr::new(address, port))).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error,
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
        last = DialError::of_connect(error, address);
        if matches!(last, DialError::Exhausted(_)) {
            break;
        }
    }
    Err(last)
}

async fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // A request is written in one piece: waiting for more to send would only delay it.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// What the certificate must be for, and the SNI where it is a name.
fn server_name(host: &Host) -> io::Result<ServerName<'static>> {
    match host {
        Host::Address(ip) => Ok(ServerName::from(*ip)),
        Host::Name(name) => ServerName::try_from(String::from(&**name))
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error)),
    }
}

#[cfg(test)]
mod tests;
