//! The rule against a second reading of its specification, on addresses and texts of all sorts.

use std::net::IpAddr;

use ipnet::IpNet;
use proptest::prelude::*;

use super::{ip, name, rule, strict};

/// The denied IPv4 networks of the specification, as a second and different reading of it.
const DENIED_V4: [&str; 19] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "192.175.48.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
];
const ALLOWED_V6: &str = "2000::/3";
const DENIED_V6: [&str; 5] =
    ["2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"];

/// Ends of names that nobody outside can own, with what stands before them or alone.
const RESERVED_NAMES: [&str; 13] = [
    "localhost",
    "local",
    "internal",
    "lan",
    "home.arpa",
    "intranet",
    "corp",
    "svc",
    "cluster.local",
    "arpa",
    "onion",
    "test",
    "invalid",
];

/// Random addresses and texts a property looks at; the specification asks for 10^5.
const ADDRESSES: u32 = 120_000;

/// Whether an address lies in a network, by shifting instead of matching.
fn lies_in(address: IpAddr, network: &str) -> bool {
    let (base, prefix) = network.split_once('/').unwrap();
    let prefix: u32 = prefix.parse().unwrap();
    match (address, ip(base)) {
        (IpAddr::V4(address), IpAddr::V4(base)) => {
            (address.to_bits() ^ base.to_bits()).checked_shr(32 - prefix).unwrap_or(0) == 0
        }
        (IpAddr::V6(address), IpAddr::V6(base)) => {
            (address.to_bits() ^ base.to_bits()).checked_shr(128 - prefix).unwrap_or(0) == 0
        }
        _ => false,
    }
}

/// The specification's sentence, read a second time.
fn is_public(address: IpAddr) -> bool {
    let mapped = lies_in(address, "::ffff:0:0/96");
    let address = match address {
        IpAddr::V6(v6) if mapped => IpAddr::V4((v6.to_bits() as u32).into()),
        IpAddr::V4(_) | IpAddr::V6(_) => address,
    };
    if address.is_ipv4() {
        return !DENIED_V4.iter().any(|network| lies_in(address, network));
    }
    lies_in(address, ALLOWED_V6) && !DENIED_V6.iter().any(|network| lies_in(address, network))
}

fn assert_both_readings_agree(address: IpAddr) {
    let allowed = strict().check_address(&name("example.com"), address).is_ok();
    assert_eq!(allowed, is_public(address), "{address}");
}

#[test]
fn both_readings_agree_at_every_edge_of_every_network() {
    for text in DENIED_V4.iter().chain(&DENIED_V6).chain([&ALLOWED_V6, &"::ffff:0:0/96"]) {
        let network: IpNet = text.parse().unwrap();
        let (first, last) = (network.network(), network.broadcast());
        for address in [first, last] {
            for step in [-1_i128, 0, 1] {
                let moved = match address {
                    IpAddr::V4(v4) => IpAddr::V4(v4.to_bits().wrapping_add(step as u32).into()),
                    IpAddr::V6(v6) => IpAddr::V6(v6.to_bits().wrapping_add(step as u128).into()),
                };
                assert_both_readings_agree(moved);
            }
        }
    }
}

/// The specification's sentences about a URL's text, read a second time and by hand: without a parser of URLs.
fn reads_as_allowed(text: &str) -> bool {
    let is_plain = |byte: u8| (0x21..=0x7e).contains(&byte) && !b"\\{}".contains(&byte);
    let lower = text.to_ascii_lowercase();
    let Some(rest) = lower.strip_prefix("https://") else { return false };
    if text.len() > 2048 || !text.bytes().all(is_plain) || text.contains('#') {
        return false;
    }
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let (host, port) = authority.split_once(':').unwrap_or((authority, "443"));
    let is_port_open = port.is_empty() || port.parse() == Ok(443_u16);
    is_port_open && reads_as_public_name(host)
}

fn reads_as_public_name(host: &str) -> bool {
    let labels: Vec<&str> = host.split('.').collect();
    let is_label = |label: &&str| {
        let is_made_of = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=63).contains(&label.len())
            && label.bytes().all(is_made_of)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_reserved = |name: &&str| host == *name || host.ends_with(&format!(".{name}"));
    // Whatever ends in a number is an address, or nothing.
    let last = labels.last().copied().unwrap_or_default();
    let is_hex =
        last.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
    let is_number = is_hex || last.bytes().all(|byte| byte.is_ascii_digit());
    host.len() <= 253
        && labels.len() >= 2
        && labels.iter().all(is_label)
        && !RESERVED_NAMES.iter().any(is_reserved)
        && !is_number
}

/// Addresses of all sorts: half of them near the networks that matter, where chance never goes.
fn any_address() -> impl Strategy<Value = IpAddr> {
    let near = |texts: Vec<&'static str>| {
        (proptest::sample::select(texts), any::<u128>()).prop_map(|(text, noise)| {
            let network: IpNet = text.parse().unwrap();
            // One bit less of the prefix is kept, so that half of them fall just outside.
            let kept = u32::from(network.prefix_len()).saturating_sub(1);
            match network.network() {
                IpAddr::V4(v4) => {
                    let noise = (noise as u32).checked_shr(kept).unwrap_or(0);
                    IpAddr::V4((v4.to_bits() ^ noise).into())
                }
                IpAddr::V6(v6) => {
                    IpAddr::V6((v6.to_bits() ^ noise.checked_shr(kept).unwrap_or(0)).into())
                }
            }
        })
    };
    prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())),
        any::<u128>().prop_map(|bits| IpAddr::V6(bits.into())),
        any::<u32>().prop_map(|bits| IpAddr::V6((0xffff_0000_0000 | u128::from(bits)).into())),
        near(DENIED_V4.to_vec()),
        near(DENIED_V6.to_vec()),
        near(vec![ALLOWED_V6]),
    ]
}

fn any_url() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC*",
        "https://\\PC{0,40}",
        "https://[a-z0-9.:@%\\[\\]/?#_xX-]{0,40}",
        "(?i:https)://[a-z0-9-]{1,9}(\\.[a-z0-9-]{1,9}){1,3}(:[0-9]{1,5})?(/[!-~]{0,30})?",
        "https://[0-9a-fx]{1,10}(\\.[0-9a-fx]{1,10}){0,3}/",
        "https://\\[[0-9a-f:.]{2,30}\\]/",
        "https://([a-z0-9-]{1,5}\\.){1,2}(localhost|local|internal|lan|home\\.arpa|corp|svc|test|net)(:(443|0443|80|)?)?/",
        "https://(user(:pw)?)?@?example\\.com(@127\\.0\\.0\\.1)?[/?#\\\\]{0,2}[ -~]{0,5}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ADDRESSES, ..ProptestConfig::default() })]

    #[test]
    fn both_readings_agree_on_any_address(address in any_address()) {
        assert_both_readings_agree(address);
    }

    #[test]
    fn both_readings_agree_on_any_text(text in any_url()) {
        match strict().check_url(&text) {
            Ok(endpoint) => prop_assert!(reads_as_allowed(endpoint.as_str()), "{text}"),
            // Names with an encoding of their own may break its rules, too.
            Err(fault) => prop_assert!(!reads_as_allowed(&text) || text.contains("xn--"), "{text}: {fault}"),
        }
    }

    #[test]
    fn any_text_is_judged_and_an_accepted_one_is_accepted_again(text in any_url()) {
        let open = rule(&["0.0.0.0/0", "::/0"], &[], &[443, 80, 1, 8443]);
        for rule in [strict(), open] {
            if let Ok(endpoint) = rule.check_url(&text) {
                prop_assert_eq!(rule.check_url(endpoint.as_str()), Ok(endpoint));
            }
        }
    }
}
