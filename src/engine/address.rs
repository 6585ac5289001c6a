//! The address rule: which URLs may be called, and which addresses their hosts may have.
//!
//! Decides; never resolves a name, opens a socket or reads a clock. One [`AddressRule`] serves
//! create, edit, load, test send and every attempt: the URL is checked once by
//! [`AddressRule::check_url`], which makes an [`Endpoint`]; each address that its host resolves to,
//! and the peer of each connection, is checked by [`AddressRule::check_address`]. The table's
//! loader and the admin API call the first, `webhook::dialer` the second.
//!
//! The order matters. URL parsers drop tabs and newlines, turn `\` into `/`, decode the host and
//! read `127.1` as an address, so the raw text is judged before any parser sees it, and afterwards
//! only the re-serialised form is kept.

mod endpoint;
mod error;
mod ranges;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::Deserialize;
use url::Url;

pub use self::endpoint::{Endpoint, Host};
pub use self::error::AddressError;
use self::ranges::Class;

/// The longest URL: what the receivers known to us take, and a bound on a connection record.
pub const MAX_URL_BYTES: usize = 2048;

/// The most addresses a host may have; more is taken for an attack on the resolver or on us.
pub const MAX_ADDRESSES: usize = 16;

/// All connections of a host together may do what one of them may.
const HOST_RATE_PER_SECOND: NonZeroU32 = NonZeroU32::new(10_000).expect("it is not zero");
const HOST_MAX_IN_FLIGHT: NonZeroU32 = NonZeroU32::new(500).expect("it is not zero");

/// The longest DNS name in its text form (RFC 1035 §2.3.4: 255 octets on the wire).
const MAX_NAME_BYTES: usize = 253;

/// The longest label of a DNS name (RFC 1035 §2.3.4).
const MAX_LABEL_BYTES: usize = 63;

/// Zones that are never public: RFC 6761, RFC 6762, RFC 7686, RFC 8375, ICANN's private-use
/// `.internal`, and the usual names of company networks and clusters.
const RESERVED_ZONES: [&str; 13] = [
    "localhost",
    "local",
    "internal",
    "lan",
    "home.arpa",
    "arpa",
    "intranet",
    "corp",
    "svc",
    "cluster.local",
    "onion",
    "test",
    "invalid",
];

/// The `egress` section of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EgressConfig {
    /// Networks (CIDR) that may be called although they are not public, and the only ones that a
    /// URL may name by an IP address. Default: none. Metadata services, link-local addresses,
    /// this host's own addresses and the brokers' are covered only by an entry of that very
    /// address (`/32`, `/128`).
    pub allow: Vec<IpNet>,
    /// Host names that may be short or in a reserved zone, and may resolve to private and loopback
    /// addresses. Default: none. Never covers what `allow` needs the very address for.
    pub allow_hosts: Vec<String>,
    /// TCP ports that a URL may name. Default: 443 only.
    pub ports: Vec<u16>,
    /// A PEM file of certificate authorities that are trusted beside the public ones. Default: none.
    pub ca_file: Option<PathBuf>,
    /// Attempts a second that all connections of one host make together, over all instances; 1–1000000. Default:
    /// 10000, the most that one connection may have.
    pub host_rate_per_second: NonZeroU32,
    /// Attempts under way at once to one host, in one instance; 1–100000. Default: 500, the most that one connection
    /// may have.
    pub host_max_in_flight: NonZeroU32,
}

impl Default for EgressConfig {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            allow_hosts: Vec::new(),
            ports: vec![443],
            ca_file: None,
            host_rate_per_second: HOST_RATE_PER_SECOND,
            host_max_in_flight: HOST_MAX_IN_FLIGHT,
        }
    }
}

/// Says of a URL or an address whether it may be called.
#[derive(Clone, Debug)]
pub struct AddressRule {
    allow: Box<[IpNet]>,
    /// In lower case, as hosts are after parsing.
    allow_hosts: BTreeSet<Box<str>>,
    ports: Box<[u16]>,
    /// Canonical (never IPv4-mapped), as the addresses they are compared with.
    own_addresses: BTreeSet<IpAddr>,
}

impl AddressRule {
    /// The rule of this configuration. `own_addresses` are this host's interfaces, our listeners
    /// and the brokers: all that an attacker could reach through us and nobody else.
    #[must_use]
    pub fn new(config: &EgressConfig, own_addresses: Vec<IpAddr>) -> Self {
        let lower = |name: &String| name.trim().to_ascii_lowercase().into();
        Self {
            allow: config.allow.clone().into(),
            allow_hosts: config.allow_hosts.iter().map(lower).collect(),
            ports: config.ports.clone().into(),
            own_addresses: own_addresses.into_iter().map(|ip| ip.to_canonical()).collect(),
        }
    }

    /// Judges a URL as a user wrote it, or as it was stored.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check_url(&self, raw: &str) -> Result<Endpoint, AddressError> {
        check_text(raw)?;
        let url = Url::parse(raw)?;
        // Parsing may lengthen the text: some characters come out percent-encoded.
        check_length(url.as_str())?;
        if url.scheme() != "https" {
            return Err(AddressError::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(AddressError::Userinfo);
        }
        if url.fragment().is_some() {
            return Err(AddressError::Fragment);
        }
        let port = url.port_or_known_default().unwrap_or_default();
        if !self.ports.contains(&port) {
            return Err(AddressError::Port { port });
        }
        let host = self.check_host(&url)?;
        Endpoint::of(&url, host)
    }

    /// Judges one address of a host: one it resolved to, or the peer of a connection to it.
    ///
    /// # Errors
    /// Why this address may not be called. One denied address refuses all others of the host too;
    /// that is the caller's part.
    pub fn check_address(&self, host: &Host, ip: IpAddr) -> Result<(), AddressError> {
        let ip = ip.to_canonical();
        if self.lists_exactly(ip) {
            return Ok(());
        }
        self.check_sensitive(ip)?;
        if let Some(embedded) = ranges::embedded_v4(ip) {
            self.check_sensitive(IpAddr::V4(embedded))?;
        }
        if self.allow.iter().any(|network| network.contains(&ip)) {
            return Ok(());
        }
        match host {
            Host::Address(_) => Err(AddressError::Literal),
            Host::Name(name) => self.check_resolved(name, ip),
        }
    }

    fn check_host(&self, url: &Url) -> Result<Host, AddressError> {
        let ip: IpAddr = match url.host().ok_or(AddressError::NoHost)? {
            url::Host::Domain(name) => {
                self.check_name(name)?;
                return Ok(Host::Name(name.into()));
            }
            url::Host::Ipv4(ip) => ip.into(),
            url::Host::Ipv6(ip) => ip.into(),
        };
        let host = Host::Address(ip);
        self.check_address(&host, ip)?;
        Ok(host)
    }

    fn check_name(&self, name: &str) -> Result<(), AddressError> {
        if name.len() > MAX_NAME_BYTES {
            return Err(AddressError::NameSyntax);
        }
        if self.allow_hosts.contains(name) {
            return Ok(());
        }
        if !name.split('.').all(is_label) {
            return Err(AddressError::NameSyntax);
        }
        if let Some(zone) = RESERVED_ZONES.into_iter().find(|zone| is_within(name, zone)) {
            return Err(AddressError::ReservedName { zone });
        }
        if !name.contains('.') {
            return Err(AddressError::ShortName);
        }
        Ok(())
    }

    /// What nothing but an entry of the very address allows.
    fn check_sensitive(&self, ip: IpAddr) -> Result<(), AddressError> {
        if self.own_addresses.contains(&ip) {
            return Err(AddressError::OwnAddress);
        }
        match Class::of(ip) {
            Class::Metadata => Err(AddressError::MetadataAddress),
            Class::LinkLocal => Err(AddressError::LinkLocalAddress),
            Class::Public | Class::Private | Class::Loopback | Class::Special => Ok(()),
        }
    }

    fn check_resolved(&self, name: &str, ip: IpAddr) -> Result<(), AddressError> {
        match Class::of(ip) {
            Class::Public => Ok(()),
            Class::Private | Class::Loopback if self.allow_hosts.contains(name) => Ok(()),
            Class::Private | Class::Loopback | Class::Special => Err(AddressError::NotPublic),
            Class::LinkLocal => Err(AddressError::LinkLocalAddress),
            Class::Metadata => Err(AddressError::MetadataAddress),
        }
    }

    fn lists_exactly(&self, ip: IpAddr) -> bool {
        self.allow
            .iter()
            .any(|network| network.prefix_len() == network.max_prefix_len() && network.addr() == ip)
    }
}

/// The rule on the raw text: everything on which parsers are known to differ.
fn check_text(raw: &str) -> Result<(), AddressError> {
    check_length(raw)?;
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'{' | b'}');
    if !raw.bytes().all(is_plain) {
        return Err(AddressError::Character);
    }
    let (scheme, rest) = raw.split_at_checked("https://".len()).ok_or(AddressError::Scheme)?;
    if !scheme.eq_ignore_ascii_case("https://") {
        return Err(AddressError::Scheme);
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() {
        return Err(AddressError::NoHost);
    }
    if authority.contains('@') {
        return Err(AddressError::Userinfo);
    }
    if authority.contains('%') {
        return Err(AddressError::EncodedHost);
    }
    Ok(())
}

fn check_length(text: &str) -> Result<(), AddressError> {
    let bytes = text.len();
    if bytes > MAX_URL_BYTES { Err(AddressError::TooLong { bytes }) } else { Ok(()) }
}

/// Letters, digits and hyphens, with no hyphen at either end (RFC 952, RFC 1123 §2.1).
fn is_label(label: &str) -> bool {
    let is_ldh = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=MAX_LABEL_BYTES).contains(&label.len())
        && label.bytes().all(is_ldh)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Whether a name is a zone's own name or below it.
fn is_within(name: &str, zone: &str) -> bool {
    name.strip_suffix(zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests;
