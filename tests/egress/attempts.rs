//! The client's road: every attempt resolves, judges, connects and judges again, with nothing of production replaced.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use barnabas::engine::address::{AddressRule, EgressConfig};
use barnabas::engine::outcome::{AttemptResult, Fault};
use barnabas::webhook::client::{Client, Limits, Request};
use barnabas::webhook::resolver::Resolver;
use barnabas::webhook::tls;
use bytes::Bytes;

use super::network::{BROKER, Network, OWN};
use super::{names, namespace};

/// Above all that a look-up and a connect may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The production rule with a certificate authority more, and these networks.
pub fn config(network: &Network, allow: &[&str]) -> EgressConfig {
    EgressConfig {
        allow: allow.iter().map(|network| network.parse().unwrap()).collect(),
        ca_file: Some(network.ca_file()),
        ..EgressConfig::default()
    }
}

pub fn client(network: &Network, allow: &[&str], limits: Limits) -> Client {
    let config = config(network, allow);
    let own: Vec<IpAddr> = [OWN, BROKER].map(|address| address.parse().unwrap()).to_vec();
    let rule = Arc::new(AddressRule::new(&config, own));
    let tls = tls::client_config(config.ca_file.as_deref()).unwrap();
    Client::new(rule, tls, Resolver::from_system(), limits)
}

/// A request to a host, past the check of its URL: as if that had been forgotten.
pub fn request(host: &str) -> Request {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let allow = address.ok().map(|address| address.to_canonical().into()).into_iter().collect();
    let open = EgressConfig { allow, ..EgressConfig::default() };
    let endpoint =
        AddressRule::new(&open, Vec::new()).check_url(&format!("https://{host}/in")).unwrap();
    Request {
        pool_key: "4172/whc_1".into(),
        endpoint: Arc::new(endpoint),
        headers: Vec::new(),
        body: Bytes::from_static(b"{}"),
        timeout: TIMEOUT,
    }
}

pub fn named(label: &str) -> Request {
    request(&format!("{label}.example.com"))
}

pub const OK: AttemptResult = AttemptResult::Answered { status: 200, retry_after: None };
const NO_NAME: AttemptResult = AttemptResult::Failed { fault: Fault::Dns, answer_begun: false };

/// Runs on a runtime of its own, as a shard does.
pub fn run<F: Future<Output = ()>>(test: &str, inside: impl FnOnce() -> F) {
    namespace::enter(test, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(inside());
    });
}

#[test]
fn names_with_good_addresses_are_called_and_no_others() {
    run("attempts::names_with_good_addresses_are_called_and_no_others", || async {
        let network = Network::new().await;
        let client = client(&network, &[], Limits::default());
        let mut good = vec!["good", "other"];
        if namespace::has_ipv6() {
            good.push("good6");
        }
        for label in &good {
            assert_eq!(client.send(named(label)).await, OK, "{label}");
        }
        for label in
            names::DENIED.map(|(label, _)| label).into_iter().chain(["alias", "many", "listed"])
        {
            let result = client.send(named(label)).await;
            assert_eq!(result, AttemptResult::Denied, "{label}");
        }
        for label in ["absent", "silent"] {
            assert_eq!(client.send(named(label)).await, NO_NAME, "{label}");
        }
        let denials: u64 = client.take_denials().iter().map(|(_, count)| count).sum();
        assert_eq!(denials, names::DENIED.len() as u64 + 3);
        // One link for each, since they are one webhook connection with three origins.
        assert_eq!(network.accepted(), good.len());
        network.assert_untouched();
        network.assert_they_bite().await;
    });
}

#[test]
fn addresses_are_judged_again_whatever_was_said_of_their_url() {
    run("attempts::addresses_are_judged_again_whatever_was_said_of_their_url", || async {
        let network = Network::new().await;
        let strict = client(&network, &[], Limits::default());
        let literals = [
            "127.0.0.1",
            "10.9.9.9",
            "169.254.169.254",
            "168.63.129.16",
            "100.100.100.200",
            "8.8.8.8",
            BROKER,
            OWN,
            "0.0.0.0",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[fd00::1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::1]",
            "[4000::1]",
        ];
        for literal in literals {
            assert_eq!(strict.send(request(literal)).await, AttemptResult::Denied, "{literal}");
        }
        // However wide an operator opens it: what is our own or a cloud's stays shut.
        let wide = client(&network, &["0.0.0.0/0", "::/0"], Limits::default());
        for literal in ["169.254.169.254", "168.63.129.16", "100.100.100.200", BROKER, OWN] {
            assert_eq!(wide.send(request(literal)).await, AttemptResult::Denied, "{literal}");
        }
        for label in ["metadata", "own", "broker", "linklocal"] {
            assert_eq!(wide.send(named(label)).await, AttemptResult::Denied, "{label}");
        }
        network.assert_untouched();
        // And what is listed is called.
        let listed = client(&network, &["8.8.8.0/24"], Limits::default());
        assert_eq!(listed.send(request("8.8.8.8")).await, OK);
    });
}

#[test]
fn a_rebound_name_is_denied_as_soon_as_its_link_is_over() {
    run("attempts::a_rebound_name_is_denied_as_soon_as_its_link_is_over", || async {
        let network = Network::new().await;
        assert!(Limits::default().lifetime <= Duration::from_mins(5));
        let short = Limits { lifetime: Duration::ZERO, ..Limits::default() };
        let client = client(&network, &[], short);

        assert_eq!(client.send(named("rebound")).await, OK);
        assert_eq!(client.send(named("rebound")).await, AttemptResult::Denied);
        network.assert_untouched();
    });
}

#[test]
fn the_connected_peer_is_judged_once_more() {
    run("attempts::the_connected_peer_is_judged_once_more", || async {
        let network = Network::new().await;
        // Linux takes whoever calls 0.0.0.0 to 127.0.0.1, which nobody has listed.
        let listed = client(&network, &["0.0.0.0/32"], Limits::default());
        assert_eq!(listed.send(request("0.0.0.0")).await, AttemptResult::Denied);
        let both = client(&network, &["0.0.0.0/32", "127.0.0.1/32"], Limits::default());
        assert_eq!(both.send(request("0.0.0.0")).await, OK);
    });
}
