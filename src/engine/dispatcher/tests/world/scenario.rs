//! A scenario: everything that is thrown before a run begins. The same seed, the same scenario.

use std::num::NonZeroU32;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::receiver::Manner;
use crate::engine::address::Endpoint;
use crate::engine::catalog::NameIndex;
use crate::engine::connection::{Connection, ConnectionKey, Filter, Limits};
use crate::engine::dispatcher::dice::Dice;
use crate::engine::fixtures::{catalog, connection, name};
use crate::engine::gate::HostCap;
use crate::engine::time::Timestamp;

/// When every run begins.
pub(super) const START: Timestamp = Timestamp::from_secs(1_000_000);
/// More connections are not needed to meet each other, and a set of them is one small mask.
pub(super) const MAX_CONNECTIONS: usize = 6;
/// So many hosts are there; all connections may be at one of them.
pub(super) const HOSTS: usize = 2;

/// How rough a world is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Temper {
    /// Clean stops and cooperative moves; every attempt ends before its partition is handed over.
    Gentle,
    /// Also crashes, lost partitions, attempts that are cut off, and commits that vanish.
    Rough,
}

/// What happens to an event's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Open,
    Click,
    Malformed,
}

/// One record of the events topic.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) at: Timestamp,
    pub(super) partition: i32,
    pub(super) project: usize,
    pub(super) kind: Kind,
}

/// A change of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edit {
    /// A new revision, with other limits for every second one.
    Save,
    Stop,
    Delete,
}

/// A change in the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Join,
    Leave,
    /// A partition changes hands for no reason.
    Move,
    Crash,
    /// An instance loses its partitions without notice and learns it late.
    Lose,
}

/// One connection of a scenario.
#[derive(Clone, Debug)]
pub(super) struct Role {
    pub(super) manner: Manner,
    /// Where its endpoint is at first; see [`host_of`].
    pub(super) host: usize,
    pub(super) filter: Filter,
    pub(super) limits: Limits,
    /// Whether its record can be read from the beginning; else the first [`Edit::Save`] mends it.
    pub(super) readable: bool,
}

/// Everything that is thrown before a run.
#[derive(Debug)]
pub(super) struct Scenario {
    pub(super) temper: Temper,
    pub(super) event_partitions: i32,
    pub(super) tier_partitions: u32,
    pub(super) instances: usize,
    pub(super) shards: usize,
    pub(super) roles: Vec<Role>,
    pub(super) arrivals: Vec<Arrival>,
    pub(super) edits: Vec<(Timestamp, usize, Edit)>,
    pub(super) turns: Vec<(Timestamp, Turn)>,
    pub(super) budget: u64,
    pub(super) max_in_flight: usize,
    pub(super) max_held: usize,
    pub(super) host_cap: HostCap,
}

impl Scenario {
    pub(super) fn throw(temper: Temper, dice: &mut Dice) -> Self {
        let connections = 1 + below(dice, MAX_CONNECTIONS);
        let event_partitions = 1 + below(dice, 3) as i32;
        let roles: Vec<_> = (0..connections).map(|_| role(temper, dice)).collect();
        // Most schedules are short, because short ones find most; some are long.
        let events = 5 + (dice.throw().powi(5) * 56.0) as usize;
        let span = [1, 5, 20][below(dice, 3)];
        let mut arrivals: Vec<_> =
            (0..events).map(|_| arrival(event_partitions, span, dice)).collect();
        arrivals.sort_by_key(|arrival| arrival.at);
        Self {
            temper,
            event_partitions,
            tier_partitions: 1 + below(dice, 2) as u32,
            instances: 1 + below(dice, 3),
            shards: 1 + below(dice, 2),
            edits: (0..below(dice, 4)).map(|_| edit(connections, dice)).collect(),
            turns: (0..below(dice, 5)).map(|_| turn(temper, dice)).collect(),
            roles,
            arrivals,
            budget: [3, 20, 100][below(dice, 3)],
            max_in_flight: [1, 4, 64][below(dice, 3)],
            max_held: [1, 40, 1_000][below(dice, 3)],
            host_cap: HostCap {
                rate_per_second: number([1, 5, 50, 10_000][below(dice, 4)]),
                max_in_flight: number([1, 4, 500][below(dice, 3)]),
            },
        }
    }
}

/// What costs too much to be made for every run.
#[derive(Debug)]
pub(super) struct Props {
    pub(super) keys: Vec<ConnectionKey>,
    pub(super) connections: Vec<Connection>,
    pub(super) endpoints: [Arc<Endpoint>; HOSTS],
    pub(super) open: NameIndex,
    pub(super) click: NameIndex,
    pub(super) email: NameIndex,
    pub(super) only_opens: Filter,
}

/// Connections 0, 2 and 4 are of the first project, the others of the second.
pub(super) static PROPS: LazyLock<Props> = LazyLock::new(|| {
    let catalog = catalog();
    let names: Vec<_> = (0..MAX_CONNECTIONS).map(|n| format!("{}/c{n}", PROJECTS[n % 2])).collect();
    Props {
        keys: names.iter().map(|name| ConnectionKey::parse(name).unwrap()).collect(),
        endpoints: ["a", "b"].map(|host| {
            connection("p/c").at(&format!("https://{host}.example.com/")).build().endpoint
        }),
        connections: names.iter().map(|name| connection(name).build()).collect(),
        open: name(&catalog.events, "message_open"),
        click: name(&catalog.events, "message_click"),
        email: name(&catalog.channels, "email"),
        only_opens: connection("1/x").wants(&["message_open"], &["email"]).build().filter,
    }
});

/// The names of the projects; the third has no connections.
pub(super) const PROJECTS: [&str; 3] = ["p", "q", "none"];

/// From 0 up to `end`, without it.
pub(super) fn below(dice: &mut Dice, end: usize) -> usize {
    (dice.throw() * end as f64) as usize
}

fn number(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

fn role(temper: Temper, dice: &mut Dice) -> Role {
    let timeout_secs = match temper {
        Temper::Gentle => 3,
        Temper::Rough => [3, 15][below(dice, 2)],
    };
    Role {
        manner: Manner::throw(dice),
        host: below(dice, HOSTS),
        filter: if dice.throw() < 0.7 { Filter::EVERYTHING } else { PROPS.only_opens },
        limits: Limits {
            rate_per_second: number([1, 3, 10, 1_000][below(dice, 4)]),
            burst: number([1, 4, 1_000][below(dice, 3)]),
            max_in_flight: number([1, 3, 16][below(dice, 3)]),
            timeout: Duration::from_secs(timeout_secs),
            max_age: (dice.throw() < 0.1).then_some(Duration::from_secs(15)),
        },
        readable: dice.throw() < 0.9,
    }
}

fn arrival(partitions: i32, span_secs: usize, dice: &mut Dice) -> Arrival {
    let kind = match below(dice, 20) {
        0 => Kind::Malformed,
        1..6 => Kind::Click,
        _ => Kind::Open,
    };
    Arrival {
        at: START + Duration::from_millis(below(dice, span_secs * 1_000) as u64),
        partition: below(dice, partitions as usize) as i32,
        project: if dice.throw() < 0.05 { 2 } else { below(dice, 2) },
        kind,
    }
}

fn edit(connections: usize, dice: &mut Dice) -> (Timestamp, usize, Edit) {
    let at = START + Duration::from_millis(below(dice, 30_000) as u64);
    let edit = [Edit::Save, Edit::Save, Edit::Stop, Edit::Delete][below(dice, 4)];
    (at, below(dice, connections), edit)
}

fn turn(temper: Temper, dice: &mut Dice) -> (Timestamp, Turn) {
    let at = START + Duration::from_millis(below(dice, 30_000) as u64);
    let turns = match temper {
        Temper::Gentle => [Turn::Join, Turn::Leave, Turn::Move, Turn::Move, Turn::Leave],
        Temper::Rough => [Turn::Join, Turn::Leave, Turn::Move, Turn::Crash, Turn::Lose],
    };
    (at, turns[below(dice, 5)])
}

/// Every third revision is at another host.
pub(super) const fn host_of(role: &Role, revision: u64) -> usize {
    (role.host + revision.is_multiple_of(3) as usize) % HOSTS
}

/// The record that a revision of a connection has.
pub(super) fn revision_of(role: &Role, index: usize, revision: u64) -> Arc<Connection> {
    let mut connection = PROPS.connections[index].clone();
    connection.revision = revision;
    connection.filter = role.filter;
    connection.limits = role.limits;
    connection.endpoint = Arc::clone(&PROPS.endpoints[host_of(role, revision)]);
    if revision.is_multiple_of(2) {
        connection.limits.max_in_flight = NonZeroU32::new(2).unwrap();
        connection.limits.burst = NonZeroU32::MIN;
    }
    Arc::new(connection)
}
