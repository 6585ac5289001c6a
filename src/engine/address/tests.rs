//! The inputs that the specification names, one by one.

mod second_reading;

use std::net::IpAddr;

use super::*;

fn rule(allow: &[&str], allow_hosts: &[&str], ports: &[u16]) -> AddressRule {
    let network = |text: &&str| text.parse().unwrap_or_else(|_| IpNet::from(ip(text)));
    let config = EgressConfig {
        allow: allow.iter().map(network).collect(),
        allow_hosts: allow_hosts.iter().map(ToString::to_string).collect(),
        ports: ports.to_vec(),
        ..EgressConfig::default()
    };
    AddressRule::new(&config, vec![ip("127.0.0.1"), ip("203.0.113.5"), ip("9.9.9.9")])
}

fn strict() -> AddressRule {
    AddressRule::new(&EgressConfig::default(), Vec::new())
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn name(text: &str) -> Host {
    Host::Name(text.into())
}

/// The table of URLs, which tests of other roads read too.
#[derive(serde::Deserialize)]
struct Urls {
    refused: Vec<String>,
    allowed: Vec<String>,
    allowed_where_literals_are: Vec<String>,
}

fn urls() -> Urls {
    serde_json::from_str(include_str!("../../../tests/fixtures/urls.json")).unwrap()
}

#[test]
fn every_refused_input_of_the_specification_is_refused() {
    let refused = urls().refused;
    assert!(refused.len() > 100, "{}", refused.len());
    for url in refused {
        assert!(strict().check_url(&url).is_err(), "{url:?}");
    }
}

#[test]
fn each_rule_names_itself() {
    let cases = [
        ("https://exam\tple.com/", "url"),
        ("https://%31%32%37.0.0.1/", "url"),
        ("https://[::1/", "url"),
        ("http://example.com/", "scheme"),
        ("https://@example.com/", "userinfo"),
        ("https://example.com/#", "fragment"),
        ("https://example.com:8443/", "port"),
        ("https://8.8.8.8/", "literal"),
        ("https://kafka/", "name"),
        ("https://a_b.com/", "name"),
        ("https://metadata.google.internal/", "name"),
        ("https://169.254.169.254/", "metadata"),
        ("https://[fe80::1]/", "link_local"),
    ];
    for (url, reason) in cases {
        assert_eq!(strict().check_url(url).unwrap_err().reason(), reason, "{url}");
    }
}

#[test]
fn an_endpoint_is_the_url_in_parts() {
    let endpoint =
        strict().check_url("HTTPS://Hooks.Example.COM:443/a/../in?src=xp&k=%20'").unwrap();

    assert_eq!(endpoint.as_str(), "https://hooks.example.com/in?src=xp&k=%20%27");
    assert_eq!(endpoint.origin(), "https://hooks.example.com");
    assert_eq!(endpoint.host(), &name("hooks.example.com"));
    assert_eq!(endpoint.port(), 443);
    assert_eq!(endpoint.host_header(), "hooks.example.com");
    assert_eq!(endpoint.target(), "/in?src=xp&k=%20%27");
}

#[test]
fn another_port_is_part_of_origin_and_host_header() {
    let endpoint = rule(&[], &[], &[443, 8443]).check_url("https://a.example.com:8443").unwrap();

    assert_eq!(endpoint.origin(), "https://a.example.com:8443");
    assert_eq!(endpoint.host_header(), "a.example.com:8443");
    assert_eq!(endpoint.target(), "/");
    assert_eq!(endpoint.port(), 8443);
}

#[test]
fn an_endpoint_prints_neither_path_nor_query() {
    let endpoint = strict().check_url("https://example.com/secret?token=secret").unwrap();

    assert_eq!(endpoint.to_string(), "https://example.com");
    assert_eq!(format!("{endpoint:?}"), r#"Endpoint("https://example.com")"#);
}

#[test]
fn errors_never_print_the_url() {
    for url in ["http://secret.com/secret", "https://secret/", "https://1.2.3.4/secret"] {
        let text = strict().check_url(url).unwrap_err().to_string();
        assert!(!text.contains("secret") && !text.contains("1.2.3.4"), "{text}");
    }
}

#[test]
fn public_names_are_allowed() {
    for url in urls().allowed {
        assert!(strict().check_url(&url).is_ok(), "{url}: {:?}", strict().check_url(&url));
    }
}

#[test]
fn the_edges_of_the_denied_ranges_are_public() {
    let host = name("example.com");
    for literal in urls().allowed_where_literals_are {
        let text = literal.trim_matches(['[', ']']);
        assert_eq!(strict().check_address(&host, ip(text)), Ok(()), "{text}");
        let allowed = rule(&[text], &[], &[443]);
        assert_eq!(allowed.check_address(&Host::Address(ip(text)), ip(text)), Ok(()), "{text}");
    }
}

#[test]
fn a_literal_needs_the_allow_list() {
    let allowed = rule(&["127.0.0.1/32", "10.1.0.0/16", "8.8.8.0/24"], &[], &[443, 8443]);

    let endpoint = allowed.check_url("https://127.0.0.1:8443/x").unwrap();
    assert_eq!(endpoint.host(), &Host::Address(ip("127.0.0.1")));
    assert!(allowed.check_url("https://10.1.2.3/").is_ok());
    assert!(allowed.check_url("https://8.8.8.8/").is_ok());
    for url in ["https://10.2.0.1/", "https://127.0.0.2/", "https://8.8.4.4/", "https://[::1]/"] {
        assert_eq!(allowed.check_url(url), Err(AddressError::Literal), "{url}");
    }
}

#[test]
fn a_listed_host_may_be_short_and_private() {
    let allowed = rule(&[], &["Receiver", "crm.internal"], &[443]);

    assert!(allowed.check_url("https://receiver/x").is_ok());
    assert!(allowed.check_url("https://crm.internal/x").is_ok());
    assert!(allowed.check_url("https://other.internal/x").is_err());
    assert!(allowed.check_url("https://receiver./x").is_err());
    for text in ["10.0.0.1", "192.168.3.4", "127.0.0.2", "100.64.0.1", "fd12::1", "::1", "8.8.8.8"]
    {
        assert_eq!(allowed.check_address(&name("receiver"), ip(text)), Ok(()), "{text}");
    }
    assert!(allowed.check_address(&name("other"), ip("10.0.0.1")).is_err());
}

#[test]
fn sensitive_addresses_need_their_very_address_listed() {
    let wide = rule(&["0.0.0.0/0", "::/0"], &["receiver"], &[443]);
    let cases = [
        ("169.254.169.254", AddressError::MetadataAddress),
        ("168.63.129.16", AddressError::MetadataAddress),
        ("100.100.100.200", AddressError::MetadataAddress),
        ("fd00:ec2::254", AddressError::MetadataAddress),
        ("::ffff:169.254.169.254", AddressError::MetadataAddress),
        ("64:ff9b::a9fe:a9fe", AddressError::MetadataAddress),
        ("2002:a9fe:a9fe::1", AddressError::MetadataAddress),
        ("169.254.1.1", AddressError::LinkLocalAddress),
        ("fe80::1", AddressError::LinkLocalAddress),
        ("127.0.0.1", AddressError::OwnAddress),
        ("::ffff:7f00:1", AddressError::OwnAddress),
        ("::127.0.0.1", AddressError::OwnAddress),
        ("203.0.113.5", AddressError::OwnAddress),
        ("9.9.9.9", AddressError::OwnAddress),
    ];
    for (text, error) in cases {
        let literal = Host::Address(ip(text));
        assert_eq!(wide.check_address(&name("receiver"), ip(text)), Err(error.clone()), "{text}");
        assert_eq!(wide.check_address(&literal, ip(text)), Err(error), "{text}");
        let listed = rule(&[&ip(text).to_canonical().to_string()], &[], &[443]);
        assert_eq!(listed.check_address(&literal, ip(text)), Ok(()), "{text}");
    }
}

#[test]
fn reserved_ranges_are_not_covered_by_a_host_name() {
    let allowed = rule(&[], &["receiver"], &[443]);
    for text in ["0.0.0.0", "224.0.0.1", "255.255.255.255", "192.0.2.1", "ff02::1", "::", "4000::1"]
    {
        let checked = allowed.check_address(&name("receiver"), ip(text));
        assert_eq!(checked, Err(AddressError::NotPublic), "{text}");
    }
}

#[test]
fn configuration_defaults_to_port_443_and_nothing_else() {
    let config: EgressConfig = serde_json::from_str("{}").unwrap();

    assert_eq!(config, EgressConfig::default());
    assert_eq!(config.ports, [443]);
    assert!(serde_json::from_str::<EgressConfig>(r#"{"alow":[]}"#).is_err());
}
