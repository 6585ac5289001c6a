//! A URL that passed the address rule, in the parts that a request needs.
//!
//! Holds no rule: [`super::AddressRule::check_url`] alone makes one, so that whoever has an
//! [`Endpoint`] need not check it again. Never prints the path or the query: many receivers put
//! their secret there.

use std::fmt;
use std::net::IpAddr;

use http::HeaderValue;
use http::uri::PathAndQuery;
use url::{Position, Url};

use super::AddressError;

/// The port of https, which is left out of a URL, an origin and a `Host` header.
const HTTPS_PORT: u16 = 443;

/// Where a URL leads.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Host {
    /// A DNS name in ASCII and lower case, without a trailing dot.
    Name(Box<str>),
    /// An IP literal.
    Address(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(ip) => write!(f, "{ip}"),
        }
    }
}

/// A receiver's URL, valid by construction, with everything that each request needs at hand.
///
/// `Display` and `Debug` show the origin only.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The re-serialised URL: what is stored, and the only text a second parser may see.
    url: Box<str>,
    origin: Box<str>,
    host: Host,
    port: u16,
    /// Made once, so that a request costs two reference counts and no formatting.
    host_header: HeaderValue,
    target: PathAndQuery,
}

impl Endpoint {
    /// Takes a parsed URL apart. The caller has checked it by the rule, and made `host` from it.
    pub(super) fn of(url: &Url, host: Host) -> Result<Self, AddressError> {
        let port = url.port().unwrap_or(HTTPS_PORT);
        let authority = &url[Position::BeforeHost..Position::AfterPort];
        let host_header = HeaderValue::from_str(authority).map_err(|_| AddressError::Target)?;
        let target = PathAndQuery::try_from(&url[Position::BeforePath..Position::AfterQuery])
            .map_err(|_| AddressError::Target)?;
        Ok(Self {
            url: url.as_str().into(),
            origin: format!("https://{authority}").into(),
            host,
            port,
            host_header,
            target,
        })
    }

    /// The whole URL as it was re-serialised. May hold a secret: for storing and sending only.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// The URL for people who may see the connection: with `***` in place of every value of the query.
    #[must_use]
    pub fn masked(&self) -> String {
        let Some((before, query)) = self.url.split_once('?') else { return self.url.to_string() };
        let mask = |pair: &str| match pair.split_once('=') {
            Some((name, _)) => format!("{name}=***"),
            // Without a name it may be a secret altogether.
            None => "***".to_owned(),
        };
        let masked: Vec<_> = query.split('&').map(mask).collect();
        format!("{before}?{}", masked.join("&"))
    }

    /// Scheme, host and, when it is not 443, port: `https://hooks.example.com`.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The host to resolve, to connect to and to name in the TLS handshake.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The TCP port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The value of the `Host` header (RFC 9110 §7.2).
    #[must_use]
    pub const fn host_header(&self) -> &HeaderValue {
        &self.host_header
    }

    /// The request target in origin form: path and query (RFC 9112 §3.2.1).
    #[must_use]
    pub fn target(&self) -> &str {
        self.target.as_str()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endpoint").field(&self.origin).finish()
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::address::{AddressRule, EgressConfig};

    #[test]
    fn the_values_of_a_query_are_not_shown() {
        let rule = AddressRule::new(&EgressConfig::default(), Vec::new());
        for (url, masked) in [
            ("https://a.example.com/in", "https://a.example.com/in"),
            (
                "https://a.example.com/in?src=xp&key=s3cret",
                "https://a.example.com/in?src=***&key=***",
            ),
            ("https://a.example.com/?s3cret", "https://a.example.com/?***"),
        ] {
            assert_eq!(rule.check_url(url).unwrap().masked(), masked);
        }
    }
}
