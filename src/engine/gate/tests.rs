//! One shard's gates on a bench: lanes that come, go and stand in line.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::engine::connection::Limits;
use crate::engine::fixtures::connection;
use crate::engine::table::Entry;

const START: Timestamp = Timestamp::from_secs(1_000);
const MILLI: Duration = Duration::from_millis(1);

fn number(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

/// Connections at the same host, each with these limits.
fn crowd(count: usize, shards: usize, rate: u32, in_flight: u32) -> ConnectionTable {
    let mut table = ConnectionTable::for_shards(shards);
    for key in (0..count).map(|number| format!("p/{number}")) {
        let change = |limits: &mut Limits| {
            limits.rate_per_second = number(rate);
            limits.burst = number(rate);
            limits.max_in_flight = number(in_flight);
        };
        let connection = connection(&key).at("https://a.example.com/").limits(change).build();
        table.put(&connection.key.clone(), Entry::Known(Arc::new(connection)));
    }
    table
}

fn host() -> Host {
    Host::Name("a.example.com".into())
}

/// Gates with a cap, a table and the time.
struct Bench {
    gates: Gates,
    table: ConnectionTable,
    now: Timestamp,
}

impl Bench {
    fn new(rate: u32, in_flight: u32, table: ConnectionTable) -> Self {
        let cap = HostCap { rate_per_second: number(rate), max_in_flight: number(in_flight) };
        Self { gates: Gates::new(cap, 0), table, now: START }
    }

    fn passage(&mut self, lane: usize) -> Passage {
        // It was given long ago: what can be saved up is.
        let said = (&self.table, Share::whole(START - Duration::from_mins(1)));
        self.gates.passage(LaneId(lane), &host(), said, self.now)
    }

    /// As a dispatcher gives a lane its turn: through the gate, or into the line.
    fn turn(&mut self, lane: usize) -> Option<Option<GateId>> {
        if self.passage(lane) == Passage::Closed {
            self.gates.stand_in_line(LaneId(lane));
            return None;
        }
        let gate = self.gates.enter(LaneId(lane), self.now);
        self.gates.step_aside(LaneId(lane));
        Some(gate)
    }
}

#[test]
fn a_host_whose_connections_ask_for_less_than_the_cap_has_no_gate() {
    let mut bench = Bench::new(1_000, 100, crowd(10, 1, 100, 10));
    for lane in 0..500 {
        assert_eq!(bench.turn(lane % 10), Some(None));
    }
    assert!(bench.gates.gates.is_empty());
}

#[test]
fn a_connection_alone_at_its_host_has_the_whole_cap_whatever_the_shards() {
    let alone = crowd(1, 16, 10_000, 500);
    let shard = crate::engine::connection::ConnectionKey::parse("p/0").unwrap().shard(16);
    let cap = HostCap { rate_per_second: number(2_000), max_in_flight: number(100) };
    let share = Share::whole(START);
    let terms = Gates::new(cap, shard).terms(&host(), &alone, share);
    assert_eq!(terms, Some(GateTerms { period_nanos: Some(500_000), window: 100, share }));
}

#[test]
fn the_parts_of_all_shards_and_instances_together_are_the_cap() {
    let (shards, table) = (4, crowd(1_000, 4, 50, 16));
    let cap = HostCap { rate_per_second: number(2_000), max_in_flight: number(500) };
    let (mut per_second, mut in_flight) = (0.0, 0);
    for shard in 0..shards {
        let gates = Gates::new(cap, shard);
        for owned in [1, 2] {
            let share = Share { owned, total: 3, since: START };
            let terms = gates.terms(&host(), &table, share).unwrap();
            per_second += 1e9 / terms.period_nanos.unwrap() as f64;
        }
        in_flight += gates.terms(&host(), &table, Share::whole(START)).unwrap().window;
    }
    assert!((1_999.0..=2_000.0).contains(&per_second), "{per_second}");
    assert!((496..=500).contains(&in_flight), "{in_flight}");
}

#[test]
fn lanes_pass_a_full_gate_in_the_order_in_which_they_came() {
    let mut bench = Bench::new(100_000, 1, crowd(3, 1, 10, 16));
    let gate = bench.turn(0).unwrap().unwrap();
    assert_eq!([bench.turn(1), bench.turn(2), bench.turn(0)], [None; 3]);
    assert_eq!(bench.gates.leave(gate), Some(LaneId(1)));
    assert_eq!(bench.turn(2), None, "it is not its turn");
    let gate = bench.turn(1).unwrap().unwrap();
    assert_eq!(bench.gates.leave(gate), Some(LaneId(2)));
    assert!(bench.turn(2).is_some());
}

#[test]
fn who_needs_the_gate_no_longer_lets_the_next_one_pass() {
    let mut bench = Bench::new(100_000, 1, crowd(4, 1, 10, 16));
    let gate = bench.turn(0).unwrap().unwrap();
    assert_eq!([bench.turn(1), bench.turn(2), bench.turn(3)], [None; 3]);
    assert_eq!(bench.gates.leave(gate), Some(LaneId(1)));
    assert_eq!(bench.gates.step_aside(LaneId(1)), Some(LaneId(2)));
    assert_eq!(bench.gates.forget(LaneId(2)), Some(LaneId(3)));
    assert!(bench.turn(3).is_some());
}

#[test]
fn the_pace_is_kept_and_a_pause_saves_up_little() {
    let mut bench = Bench::new(100, 10_000, crowd(50, 1, 50, 16));
    let mut passed = 0;
    for milli in 0..2_000_u32 {
        bench.now = START + MILLI * milli;
        passed += (0..50).filter(|&lane| bench.turn(lane).is_some()).count();
    }
    assert!((195..=211).contains(&passed), "{passed}");
    bench.now = bench.now + Duration::from_mins(1);
    let at_once = (0..500).filter(|&turn| bench.turn(turn % 50).is_some()).count();
    assert!((10..=11).contains(&at_once), "{at_once}");
}

#[test]
fn a_table_that_never_stops_changing_does_not_keep_a_gate_shut() {
    let mut bench = Bench::new(1, 10_000, crowd(2, 1, 50, 16));
    let mut passed = 0;
    for milli in 0..10_000_u32 {
        bench.now = START + MILLI * milli;
        bench.table = crowd(2 + milli as usize % 2, 1, 50, 16);
        bench.gates.renew();
        passed += (0..2).filter(|&lane| bench.turn(lane).is_some()).count();
        if milli > 100 && milli % 100 != 0 {
            bench.now = bench.now + MILLI;
        }
    }
    assert!((9..=11).contains(&passed), "{passed}");
}

#[test]
fn an_empty_share_lets_nothing_pass_until_there_is_one() {
    let mut bench = Bench::new(10, 10_000, crowd(2, 1, 50, 16));
    let said = (&bench.table, Share::none(START));
    assert_eq!(bench.gates.passage(LaneId(0), &host(), said, START), Passage::Closed);
    assert_eq!(bench.gates.stand_in_line(LaneId(0)), None);
    bench.gates.renew();
    assert!(bench.turn(0).is_some());
}

#[test]
fn what_nobody_uses_any_more_is_gone() {
    let mut bench = Bench::new(1, 1, crowd(2, 1, 50, 16));
    let gate = bench.turn(0).unwrap().unwrap();
    assert_eq!(bench.turn(1), None);
    bench.table = crowd(0, 1, 1, 1);
    bench.gates.renew();
    assert_eq!([bench.turn(0), bench.turn(1)], [Some(None), Some(None)]);
    assert_eq!(bench.gates.leave(gate), None);
    assert!(bench.gates.gates.is_empty() && bench.gates.by_host.is_empty());
}
