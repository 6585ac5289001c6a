//! Which addresses a receiver's name has.
//!
//! Asks the system's name servers for the absolute name, A and AAAA, and remembers the answers for
//! their time to live. Never judges an address: [`super::dialer`], the only caller, does. Each
//! shard has its own, because a look-up's sockets belong to the runtime that opened them.

use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, ResolverOpts};
use hickory_resolver::lookup_ip::LookupIp;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::{Name, RecordType};
use tokio::time::timeout;
use tracing::warn;

/// How long a name may take, retries included.
const LOOKUP_LIMIT: Duration = Duration::from_secs(3);

/// How long one question may take: two fit into the limit, since the first one may be lost.
const QUESTION_LIMIT: Duration = Duration::from_millis(1500);

/// How long silence is taken for a slow name before the name server itself is put to the test.
const DOUBT_AFTER: Duration = Duration::from_secs(2);

/// The longest that an answer is remembered, however long its time to live: as long as a link may
/// live, so that a moved receiver is found within minutes.
const POSITIVE_LIMIT: Duration = Duration::from_secs(5 * 60);

/// The longest that a name's absence is remembered: less than the first long retry delay.
const NEGATIVE_LIMIT: Duration = Duration::from_secs(10);

/// Why a name has no addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LookupError {
    /// The name's own fault: it does not exist, has no address, or its servers do not answer.
    #[error("the name did not resolve: {0}")]
    Name(String),
    /// Our fault: there is no resolver, or it cannot be asked.
    #[error("the resolver cannot be asked: {0}")]
    Resolver(String),
}

/// Looks names up and remembers the answers.
#[derive(Clone, Debug)]
pub struct Resolver {
    /// `None` where the system has no usable configuration: each look-up then is our fault.
    inner: Option<TokioResolver>,
}

impl Resolver {
    /// A resolver of the system's configuration. Where there is none, it is made all the same and
    /// each look-up fails as our own fault: receivers that are given by address still work.
    #[must_use]
    pub fn from_system() -> Self {
        let built = TokioResolver::builder_tokio().and_then(|mut builder| {
            set_options(builder.options_mut());
            builder.build()
        });
        match built {
            Ok(resolver) => Self { inner: Some(resolver) },
            Err(error) => {
                warn!(%error, "no name resolution: the system's configuration is unusable");
                Self { inner: None }
            }
        }
    }

    /// Every address of an absolute name, IPv4 first; at least one.
    pub(super) async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        let Some(resolver) = &self.inner else {
            return Err(LookupError::Resolver("none is configured".into()));
        };
        let mut absolute =
            Name::from_ascii(name).map_err(|error| LookupError::Name(error.to_string()))?;
        absolute.set_fqdn(true);
        let found = ask(resolver, absolute).await?;
        let mut addresses: Vec<IpAddr> = found.iter().collect();
        if addresses.is_empty() {
            return Err(LookupError::Name("it has no addresses".into()));
        }
        addresses.sort_by_key(IpAddr::is_ipv6);
        Ok(addresses)
    }
}

fn set_options(options: &mut ResolverOpts) {
    // Both, since all addresses are judged and not only those that would be used.
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.timeout = QUESTION_LIMIT;
    options.attempts = 1;
    options.positive_max_ttl = Some(POSITIVE_LIMIT);
    options.negative_max_ttl = Some(NEGATIVE_LIMIT);
}

/// Asks for a name's addresses. When no answer comes, it is found out whose silence that is.
async fn ask(resolver: &TokioResolver, name: Name) -> Result<LookupIp, LookupError> {
    let mut lookup = pin!(timeout(LOOKUP_LIMIT, resolver.lookup_ip(name)));
    let (done, is_alive) = match timeout(DOUBT_AFTER, &mut lookup).await {
        Ok(done) => (done, true),
        Err(_) => tokio::join!(lookup, is_alive(resolver)),
    };
    match done {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) if !matches!(error, NetError::Timeout) => Err(blame(&error)),
        Ok(Err(_)) | Err(_) if is_alive => Err(LookupError::Name("no answer in time".into())),
        Ok(Err(_)) | Err(_) => Err(LookupError::Resolver("it does not answer at all".into())),
    }
}

/// Whether the name server answers the question to which each one knows the answer, whatever it
/// says: a dead one must not be charged to the receivers (and UDP does not tell that it is dead).
async fn is_alive(resolver: &TokioResolver) -> bool {
    resolver.clear_lookup_cache(Name::root(), RecordType::NS);
    let limit = LOOKUP_LIMIT - DOUBT_AFTER;
    match timeout(limit, resolver.lookup(Name::root(), RecordType::NS)).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => matches!(error, NetError::Dns(_)),
        Err(_) => false,
    }
}

/// A server that answers is heard, whatever it says; one that cannot be spoken to is our own
/// concern.
fn blame(error: &NetError) -> LookupError {
    let is_ours = matches!(error, NetError::NoConnections | NetError::Busy | NetError::Io(_));
    let text = error.to_string();
    if is_ours { LookupError::Resolver(text) } else { LookupError::Name(text) }
}

#[cfg(test)]
impl Resolver {
    /// A resolver that asks one server of a test, under the options of the real one.
    pub(super) fn asking(server: std::net::SocketAddr) -> Self {
        use hickory_resolver::config::{NameServerConfig, ResolverConfig};
        let mut config = NameServerConfig::udp(server.ip());
        config.connections[0].port = server.port();
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![config]);
        let mut builder = TokioResolver::builder_with_config(config, Default::default());
        set_options(builder.options_mut());
        Self { inner: builder.build().ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::scripted::{NameAnswer, NameServer};
    use super::*;

    #[tokio::test]
    async fn ipv4_comes_first() {
        let addresses = ["2001:200::1", "192.0.2.7", "::1"].map(|text| text.parse().unwrap());
        let server = NameServer::start(move |_| NameAnswer::Addresses(addresses.to_vec())).await;

        let found = Resolver::asking(server.address).lookup("hooks.example.com").await.unwrap();

        assert_eq!(
            found,
            ["192.0.2.7", "2001:200::1", "::1"].map(|t| t.parse::<IpAddr>().unwrap())
        );
    }

    #[tokio::test]
    async fn an_alias_is_followed_even_to_this_host() {
        let server = NameServer::start(|_| NameAnswer::Alias("localhost.")).await;

        let found = Resolver::asking(server.address).lookup("hooks.example.com").await.unwrap();

        assert!(found.iter().all(IpAddr::is_loopback), "{found:?}");
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_is_the_names_fault() {
        let server = NameServer::start(|_| NameAnswer::NoSuchName).await;

        let found = Resolver::asking(server.address).lookup("hooks.example.com").await;

        assert!(matches!(found, Err(LookupError::Name(_))), "{found:?}");
    }

    #[tokio::test]
    async fn silence_is_the_names_fault_within_the_limit() {
        let server = NameServer::start(|_| NameAnswer::Silence).await;
        let resolver = Resolver::asking(server.address);

        let found = timeout(LOOKUP_LIMIT * 2, resolver.lookup("hooks.example.com")).await;

        assert!(matches!(found, Ok(Err(LookupError::Name(_)))), "{found:?}");
    }

    #[tokio::test]
    async fn a_resolver_that_cannot_be_asked_is_our_fault() {
        let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();

        for resolver in [Resolver::asking(nobody), Resolver { inner: None }] {
            let found = resolver.lookup("hooks.example.com").await;
            assert!(matches!(found, Err(LookupError::Resolver(_))), "{found:?}");
        }
    }
}
