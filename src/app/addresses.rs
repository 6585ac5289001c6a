//! The addresses that no webhook may ever call: this host's own, and the brokers'.

use std::net::{IpAddr, ToSocketAddrs as _};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use tracing::warn;

use crate::kafka::client::KafkaConfig;

/// How long the broker may take to name its peers.
const QUESTION: Duration = Duration::from_secs(5);

/// All that can be found out; what cannot is logged, and the denied ranges still stand.
pub(super) fn own(kafka: &KafkaConfig) -> Vec<IpAddr> {
    let mut addresses = interfaces();
    for server in brokers(kafka) {
        match server.to_socket_addrs() {
            Ok(found) => addresses.extend(found.map(|address| address.ip())),
            Err(error) => warn!(server, %error, "a broker's address is not known to the guard"),
        }
    }
    addresses.sort();
    addresses.dedup();
    addresses
}

fn interfaces() -> Vec<IpAddr> {
    match if_addrs::get_if_addrs() {
        Ok(interfaces) => interfaces.iter().map(if_addrs::Interface::ip).collect(),
        Err(error) => {
            warn!(%error, "this host's own addresses are not known to the guard");
            Vec::new()
        }
    }
}

/// The configured servers and those that they name.
fn brokers(kafka: &KafkaConfig) -> Vec<String> {
    let configured = kafka.bootstrap_servers.split(',').map(|server| server.trim().to_owned());
    let mut servers: Vec<_> = configured.filter(|server| !server.is_empty()).collect();
    let client: Result<BaseConsumer, _> = kafka.admin().create();
    match client.and_then(|client| client.fetch_metadata(None, QUESTION)) {
        Ok(metadata) => servers.extend(
            metadata.brokers().iter().map(|broker| format!("{}:{}", broker.host(), broker.port())),
        ),
        Err(error) => warn!(%error, "the brokers' addresses are not known to the guard"),
    }
    servers
}
