//! Why a URL or an address was refused.
//!
//! One variant for each rule, so that a form can say how to mend it and a metric can count it.
//! The texts never hold the URL: its path and query may be a secret, and they never hold a
//! resolved address, which would let a tenant map the network behind us.

use super::MAX_URL_BYTES;

/// The rule that a URL or an address broke.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Longer than [`MAX_URL_BYTES`], as given or as re-serialised.
    #[error("the URL is {bytes} bytes long once encoded; at most {MAX_URL_BYTES} are allowed")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// A character that URL parsers drop, turn into another one or disagree about.
    #[error(
        "the URL holds a space, a control character, a backslash, a brace or a character outside \
         ASCII; percent-encode it, or write the host in its xn-- form"
    )]
    Character,
    /// Any scheme other than https, or https without both slashes.
    #[error("the URL must start with https://")]
    Scheme,
    /// Nothing stands between `https://` and the path.
    #[error("the URL has no host; write it as https://host/path")]
    NoHost,
    /// An `@` before the path, even with nothing in front of it.
    #[error("the URL carries a user name; put the credentials into the connection's settings")]
    Userinfo,
    /// A `%` in the host, which parsers decode at different times.
    #[error("the URL's host is percent-encoded; write it in plain letters")]
    EncodedHost,
    /// A `#`, even with nothing behind it.
    #[error("the URL has a fragment; remove the # and what follows it")]
    Fragment,
    /// Not a URL by the WHATWG standard.
    #[error("the URL cannot be read: {0}")]
    Unreadable(#[from] url::ParseError),
    /// A path or query that HTTP cannot carry.
    #[error("the URL's path or query cannot be sent; percent-encode what is not plain text")]
    Target,
    /// A port that the operator did not list in `egress.ports`.
    #[error("port {port} is not allowed; use an allowed one, or have it added to egress.ports")]
    Port {
        /// The port of the URL.
        port: u16,
    },
    /// An IP literal that the operator did not cover by `egress.allow`.
    #[error("the host is an IP address; use a name, or have it added to egress.allow")]
    Literal,
    /// Not letters, digits and hyphens in labels of 1–63 bytes, 253 together.
    #[error("the host is not a DNS name: labels of letters, digits and hyphens, with no last dot")]
    NameSyntax,
    /// A name of one label.
    #[error(
        "the host is a short name; use a full domain name, or have it added to egress.allow_hosts"
    )]
    ShortName,
    /// A name in a zone that is never public.
    #[error("names in .{zone} are not public; use another, or have it added to egress.allow_hosts")]
    ReservedName {
        /// The zone, without its leading dot.
        zone: &'static str,
    },
    /// The host resolved to more addresses than are ever looked at.
    #[error("the host has {count} addresses; at most {limit} are allowed")]
    TooManyAddresses {
        /// How many it has.
        count: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// One of this host's interfaces, our listeners or the brokers.
    #[error("the host leads back to this service; only the operator can allow that very address")]
    OwnAddress,
    /// A cloud's metadata service.
    #[error("the host leads to a metadata service; only the operator can allow that very address")]
    MetadataAddress,
    /// An address that is valid on one link only.
    #[error(
        "the host leads to a link-local address; only the operator can allow that very address"
    )]
    LinkLocalAddress,
    /// A private, reserved or otherwise not public address.
    #[error("the host leads to an address that is not public; have it added to egress.allow")]
    NotPublic,
}

impl AddressError {
    /// Every reason of [`Self::reason`], for metrics.
    pub const REASONS: [&str; 12] = [
        "url",
        "scheme",
        "userinfo",
        "fragment",
        "port",
        "literal",
        "name",
        "too_many_addresses",
        "own_address",
        "metadata",
        "link_local",
        "not_public",
    ];

    /// The label of `egress_denied_total{reason}`: a small set that no input can enlarge.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::TooLong { .. }
            | Self::Character
            | Self::NoHost
            | Self::EncodedHost
            | Self::Unreadable(_)
            | Self::Target => "url",
            Self::Scheme => "scheme",
            Self::Userinfo => "userinfo",
            Self::Fragment => "fragment",
            Self::Port { .. } => "port",
            Self::Literal => "literal",
            Self::NameSyntax | Self::ShortName | Self::ReservedName { .. } => "name",
            Self::TooManyAddresses { .. } => "too_many_addresses",
            Self::OwnAddress => "own_address",
            Self::MetadataAddress => "metadata",
            Self::LinkLocalAddress => "link_local",
            Self::NotPublic => "not_public",
        }
    }
}
