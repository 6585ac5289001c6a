//! Everything that has to stand before the curtain rises: broker, topics, receiver, connections, service.
//!
//! Builds it in that order and takes it down in the other; in between it takes in what the witnesses see and gives
//! each connection's [`Account`]. How long what goes on is the play's business.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use rdkafka::config::ClientConfig;
use tokio::net::TcpSocket;

use super::arrivals::Arrivals;
use super::broker::{Broker, CLIENT_PROPERTIES};
use super::cast::{Act, CAST, Role};
use super::folder::Folder;
use super::leftovers::{Leftovers, Topic, Waiting};
use super::receiver::{Authority, Keep, Receiver};
use super::service::Service;
use super::tally::{Account, Summary};
use super::wave::Waves;
use super::writer::Writer;
use super::{DemoError, Plan};
use crate::clock;
use crate::config::Config;
use crate::engine::retry::RetryPolicy;
use crate::engine::snapshot::{LaneSnapshot, LaneState};
use crate::kafka::client::Group;
use crate::kafka::topics::{Ready, TopicNames};

/// Short, so that a failing delivery's whole way is seen; with its horizon, what a dead endpoint cannot get is given
/// up about 20 s after its event.
const SCHEDULE: [&str; 4] = ["500ms", "1s", "2s", "4s"];

/// The embedded broker keeps 5 MiB of a partition: events go to many.
const EVENTS_PARTITIONS: u32 = 12;
const OTHER_PARTITIONS: u32 = 6;
const TABLE_PARTITIONS: i32 = 3;

/// The first join takes 0.15 s with it, and 3 s without.
const GROUP_PROTOCOL: (&str, &str) = ("group.protocol", "consumer");

/// Longer than the slow endpoint thinks.
const GRACE_SECONDS: u32 = 5;

/// Connections are older than any event: their clocks may differ by a second.
const CONNECTIONS_AGE_SECS: u64 = 60;

/// A free port of this machine, and only of it.
const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// What stands while the demo runs. The clients stand above the broker, for they have to go first.
#[derive(Debug)]
pub(super) struct Stage {
    per_second: u32,
    telemetry: SocketAddr,
    pub(super) writer: Writer,
    pub(super) service: Option<Service>,
    arrivals: Arrivals,
    leftovers: Leftovers,
    /// As they were when somebody last looked.
    lanes: BTreeMap<String, LaneSnapshot>,
    /// How the group of the tiers is asked for its commits.
    group: ClientConfig,
    tiers: Vec<Topic>,
    receiver: Receiver,
    /// Bound and never listened on: whoever calls it is refused, and nobody else can have it.
    _dead_end: TcpSocket,
    _broker: Broker,
}

impl Stage {
    /// Builds everything; when this returns, the service is starting. The folder's certificate has to stay.
    pub(super) async fn build(plan: &Plan, folder: &Folder) -> Result<Self, DemoError> {
        let mut config = Config::default();
        config.retry.schedule = SCHEDULE.map(str::to_owned).to_vec();
        let retry = RetryPolicy::try_from(&config.retry)?;
        let names = TopicNames::new(&config.topics, retry.delays());
        let broker = start_broker(&names)?;
        set_up_kafka(&mut config, &broker);

        let (receipts, arrivals) = Arrivals::channel();
        let authority = Authority::generate()?;
        authority.write_pem(&folder.ca_file())?;
        let receiver = Receiver::start(ANY_PORT, Keep::HandOver(receipts), &authority)?;
        for role in &CAST {
            receiver.set_credentials(&role.path(), &role.credentials());
        }
        let dead_end = TcpSocket::new_v4()?;
        dead_end.bind(ANY_PORT)?;
        let dead_address = dead_end.local_addr()?;
        config.egress.allow = vec![IpNet::V4(Ipv4Net::from(Ipv4Addr::LOCALHOST))];
        config.egress.ports = vec![receiver.address().port(), dead_address.port()];
        config.egress.ca_file = Some(folder.ca_file());
        set_up_listeners(&mut config)?;
        config.shutdown.grace_seconds = GRACE_SECONDS;

        let mut writer = Writer::open(&config.kafka.producer(), &names.events, plan.seed)?;
        let created_at = clock::wall_clock().as_millis() / 1000 - CONNECTIONS_AGE_SECS;
        for role in &CAST {
            let url = url(role, &receiver, dead_address);
            let record = role.record(&url, plan.events_per_second, created_at).to_string();
            writer.put(&names.connections, &role.key(), record.as_bytes())?;
        }
        writer.flush()?;

        let tiers = names.retry.iter().map(|name| (name.clone(), partitions(OTHER_PARTITIONS)));
        let tiers: Vec<_> = tiers.collect();
        let reader = config.kafka.table_reader();
        let dead_letters = (names.dead_letters.clone(), partitions(OTHER_PARTITIONS));
        let leftovers = Leftovers::follow(&reader, &tiers, &dead_letters)?;
        let group = of_group(reader, &config.kafka.consumer(Group::Retries));
        let telemetry = config.telemetry.listen;
        let topics = Ready {
            events_partitions: EVENTS_PARTITIONS,
            retry_partitions: OTHER_PARTITIONS,
            advice: Vec::new(),
        };
        let service = Service::start(config, topics).await?;
        let stage = Self {
            per_second: plan.events_per_second,
            telemetry,
            writer,
            service: Some(service),
            arrivals,
            leftovers,
            lanes: BTreeMap::new(),
            group,
            tiers,
            receiver,
            _dead_end: dead_end,
            _broker: broker,
        };
        stage.direct(Duration::ZERO);
        Ok(stage)
    }

    /// Where the service serves its metrics.
    pub(super) const fn telemetry(&self) -> SocketAddr {
        self.telemetry
    }

    /// A link to the service's console that signs in.
    pub(super) fn console_link(&self) -> Option<String> {
        self.service.as_ref()?.console_link()
    }

    /// Has the endpoints behave as they do so long after the start.
    pub(super) fn direct(&self, elapsed: Duration) {
        for role in &CAST {
            if let Some(behaviour) = role.act.behaviour(elapsed) {
                self.receiver.set_behaviour(&role.path(), behaviour);
            }
        }
    }

    /// Writes the events that are due so long after the start.
    pub(super) fn write_due(&mut self, elapsed: Duration) -> Result<(), DemoError> {
        let due = Waves { per_second: self.per_second }.due(elapsed);
        Ok(self.writer.write_due(due, clock::wall_clock().as_millis() / 1000)?)
    }

    /// Takes in what the receiver and the topics have got.
    pub(super) fn take_in(&mut self) -> Result<(), DemoError> {
        self.arrivals.take_in();
        Ok(self.leftovers.take_in()?)
    }

    /// Looks at the service's lanes.
    pub(super) async fn look_at_lanes(&mut self) {
        let Some(service) = &self.service else { return };
        for lane in service.snapshot().await.lanes {
            self.lanes.insert(lane.connection.as_str().to_owned(), lane);
        }
    }

    /// What a role's lane was doing then.
    pub(super) fn lane_state(&self, role: &Role) -> Option<LaneState> {
        self.lanes.get(&role.key()).map(|lane| lane.state)
    }

    /// Each connection's account, in the order of the cast; what is not settled counts as waiting.
    pub(super) fn accounts(&self) -> Vec<Account> {
        let matched = self.writer.matched();
        let account = |(place, role): (usize, &Role)| {
            let fate = self.leftovers.fate(role.id);
            let lane = self.lanes.get(&role.key());
            let mut account = Account {
                connection: role.key(),
                name: role.name.to_owned(),
                endpoint: role.act.describe(self.per_second),
                matched: matched[place],
                delivered: self.arrivals.delivered(place),
                duplicates: self.arrivals.duplicates(place),
                retried: fate.retried,
                parked: fate.parked,
                dead_lettered: fate.dead,
                dropped: lane.map_or(0, |lane| lane.totals.dropped),
                waiting: 0,
            };
            account.waiting = account.rest();
            account
        };
        CAST.iter().enumerate().map(account).collect()
    }

    /// Whether everything that was written has come to its end.
    pub(super) fn is_settled(&self) -> bool {
        let malformed = self.leftovers.fate("").dead.total;
        malformed >= self.writer.written().malformed
            && self.accounts().iter().all(|account| account.rest() == 0)
    }

    /// The sums, when the service has stopped: what waits is read from the tiers.
    pub(super) fn sum_up(&mut self) -> Result<Summary, DemoError> {
        self.arrivals.take_in();
        self.leftovers.take_in_all()?;
        let waiting = Waiting::of_group(&self.group, &self.tiers)?;
        let mut connections = self.accounts();
        for (account, role) in connections.iter_mut().zip(&CAST) {
            account.waiting = waiting.of(role.id);
        }
        Ok(Summary {
            written: self.writer.written(),
            dead_letters_without_connection: self.leftovers.fate("").dead,
            strays: self.arrivals.strays,
            connections,
            ..Summary::default()
        })
    }
}

fn start_broker(names: &TopicNames) -> Result<Broker, DemoError> {
    let broker = Broker::start(&[
        (&names.events, partitions(EVENTS_PARTITIONS)),
        (&names.connections, TABLE_PARTITIONS),
        (&names.states, TABLE_PARTITIONS),
        (&names.dead_letters, partitions(OTHER_PARTITIONS)),
        (&names.attempts, partitions(OTHER_PARTITIONS)),
    ])?;
    for tier in &names.retry {
        broker.create_topic(tier, partitions(OTHER_PARTITIONS))?;
    }
    Ok(broker)
}

fn set_up_kafka(config: &mut Config, broker: &Broker) {
    broker.bootstrap().clone_into(&mut config.kafka.bootstrap_servers);
    let properties = CLIENT_PROPERTIES.into_iter().chain([GROUP_PROTOCOL]);
    let properties = properties.map(|(key, value)| (key.to_owned(), value.to_owned()));
    config.kafka.properties = properties.collect();
}

fn set_up_listeners(config: &mut Config) -> Result<(), DemoError> {
    config.telemetry.listen = free_address()?;
    // Where `serve` has its console; where that is taken, anywhere.
    let usual = config.admin.listen.filter(|&usual| TcpListener::bind(usual).is_ok());
    config.admin.listen = Some(usual.map_or_else(free_address, Ok)?);
    Ok(())
}

/// A reader's configuration under the group's name, to ask for its commits without joining it.
fn of_group(mut reader: ClientConfig, member: &ClientConfig) -> ClientConfig {
    if let Some(group) = member.get("group.id") {
        reader.set("group.id", group);
    }
    reader
}

/// An address that is free now; the service listens on it at once.
fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind(ANY_PORT)?.local_addr()
}

fn url(role: &Role, receiver: &Receiver, dead_address: SocketAddr) -> String {
    match role.act {
        Act::Dead => format!("https://{dead_address}{}", role.path()),
        Act::Healthy | Act::Slow | Act::Flaky | Act::Limited | Act::Busy => {
            receiver.url(&role.path())
        }
    }
}

fn partitions(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
