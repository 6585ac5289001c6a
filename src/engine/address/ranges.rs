//! Which class an IP address belongs to.
//!
//! Decides [`Class`] from the bits alone; never consults a configuration. [`super::AddressRule`]
//! is the only caller and turns the class into a yes or a no. The ranges are the IANA special
//! purpose registries with what microsoft/AntiSSRF adds to them: whatever is not known to be a
//! public unicast address is denied.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address is for, as far as the address rule cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// A public unicast address: the only class that needs nobody's permission.
    Public,
    /// A private network (RFC 1918, RFC 6598, RFC 4193).
    Private,
    /// This very host.
    Loopback,
    /// Valid on one link only; cloud metadata services live here.
    LinkLocal,
    /// A cloud's metadata or wire server: whoever may call it gets the instance's credentials.
    Metadata,
    /// Multicast, documentation, benchmarks, transition mechanisms and everything reserved.
    Special,
}

impl Class {
    /// The class of an address; an IPv4-mapped one (`::ffff:0:0/96`) is judged as its IPv4 address.
    pub(super) const fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::of_v4(ip),
            IpAddr::V6(ip) => Self::of_v6(ip),
        }
    }

    const fn of_v4(ip: Ipv4Addr) -> Self {
        match ip.octets() {
            [169, 254, 169, 254] | [168, 63, 129, 16] | [100, 100, 100, 200] => Self::Metadata,
            [169, 254, _, _] => Self::LinkLocal,
            [127, _, _, _] => Self::Loopback,
            [10, _, _, _] | [100, 64..=127, _, _] | [172, 16..=31, _, _] | [192, 168, _, _] => {
                Self::Private
            }
            [0, _, _, _]
            | [192, 0, 0 | 2, _]
            | [192, 31, 196, _]
            | [192, 52, 193, _]
            | [192, 88, 99, _]
            | [192, 175, 48, _]
            | [198, 18 | 19, _, _]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
            | [224..=255, _, _, _] => Self::Special,
            _ => Self::Public,
        }
    }

    const fn of_v6(ip: Ipv6Addr) -> Self {
        match ip.segments() {
            // The metadata services of AWS and of Google Cloud.
            [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254] | [0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254] => {
                Self::Metadata
            }
            [0, 0, 0, 0, 0, 0, 0, 1] => Self::Loopback,
            [0xfc00..=0xfdff, ..] => Self::Private,
            [0xfe80..=0xfebf, ..] => Self::LinkLocal,
            // 2001::/23, 2001:db8::/32, 2002::/16, 2620:4f:8000::/48 and 3fff::/20 are the holes in
            // 2000::/3, which is all that has ever been given out as global unicast.
            [0x2001, 0x0000..=0x01ff | 0x0db8, ..]
            | [0x2002, ..]
            | [0x2620, 0x004f, 0x8000, ..]
            | [0x3fff, 0x0000..=0x0fff, ..] => Self::Special,
            [0x2000..=0x3fff, ..] => Self::Public,
            _ => Self::Special,
        }
    }
}

/// The IPv4 address that a router or a transition mechanism would reach through this IPv6 address:
/// IPv4-compatible (`::/96`), NAT64 (`64:ff9b::/96`) and 6to4 (`2002::/16`).
///
/// All of these are denied unless an operator allows the range; even then they must not become a
/// way round to an address that has to be listed exactly.
pub(super) const fn embedded_v4(ip: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(ip) = ip else {
        return None;
    };
    let [high, low] = match ip.segments() {
        [0, 0, 0, 0, 0, 0, high, low] | [0x0064, 0xff9b, 0, 0, 0, 0, high, low] => [high, low],
        [0x2002, high, low, ..] => [high, low],
        _ => return None,
    };
    Some(Ipv4Addr::from_bits(((high as u32) << 16) | low as u32))
}
