//! A rolling restart under load, with names that stay: nobody but the one that restarts notices.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use barnabas::demo::receiver::Behaviour;
use serde_json::json;

use crate::support::service::Service;
use crate::support::stage::Stage;
use crate::support::{PATIENCE, eventually};

const INSTANCES: usize = 3;
/// Events that are not delivered yet, at most: enough to have work under way in every partition.
const MOST_OPEN: u64 = 300;

/// An instance whose name in the group is that of its number.
fn start(stage: &Stage, number: usize) -> Service {
    stage
        .start_with(&[("BARNABAS_KAFKA__GROUP_INSTANCE_ID", &format!("barnabas-{number}"))])
        .ready()
}

/// How often the others have taken partitions over or given some up.
fn changes(services: &[Option<Service>]) -> usize {
    let count = |service: &Service| service.log().matches("the assignment has changed").count();
    services.iter().flatten().map(count).sum()
}

/// Produces events of rising numbers until it is told to stop, no faster than the machine delivers them.
fn load(stage: &Stage, stop: &AtomicBool, sent: &AtomicU64) {
    while !stop.load(Ordering::Relaxed) {
        let next = sent.load(Ordering::Relaxed);
        if next < stage.receiver.counts("/all").delivered + MOST_OPEN {
            stage.produce(next..next + 10);
            sent.store(next + 10, Ordering::Relaxed);
        }
        thread::park_timeout(Duration::from_millis(30));
    }
}

/// Waits until the group rests: every instance owns events and tiers, and together they own all.
fn at_rest(services: &[Option<Service>]) {
    let is_shared = |source: &str, partitions: f64| {
        let label = format!("source=\"{source}\"");
        let of = |service: &Service| service.metric("barnabas_kafka_assigned_partitions", &label);
        let owned: Vec<f64> = services.iter().flatten().map(of).collect();
        owned.iter().all(|&owned| owned > 0.0) && owned.iter().sum::<f64>() == partitions
    };
    eventually("the group rests", || {
        (is_shared("events", 4.0) && is_shared("retries", 12.0)).then_some(())
    });
}

/// Ends the load, also where the test fails: its thread is waited for.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn roll(stage: &Stage) {
    stage.connect("all", json!({}));
    stage.receiver.set_behaviour("/all", Behaviour::slow(Duration::from_millis(30)));
    let mut services: Vec<_> = (0..INSTANCES).map(|number| Some(start(stage, number))).collect();
    at_rest(&services);
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| load(stage, &stop, &sent));
        let _stop = StopOnDrop(&stop);
        for number in 0..INSTANCES {
            // There is work under way whenever one stops.
            let before = stage.receiver.counts("/all").delivered;
            eventually("events flow", || {
                (stage.receiver.counts("/all").delivered > before + 50).then_some(())
            });
            let one = services[number].take().unwrap();
            let quiet = changes(&services);
            one.stop();
            services[number] = Some(start(stage, number));
            let again = services[number].take();
            assert_eq!(changes(&services), quiet, "the others kept what they had");
            services[number] = again;
        }
    });
    let sent = sent.into_inner();
    eventually("every event has arrived", || {
        (stage.receiver.counts("/all").delivered >= sent).then_some(())
    });
    for service in services.into_iter().flatten() {
        assert_eq!(service.metric("barnabas_kafka_rebalances_total", "lost"), 0.0);
        service.stop();
    }
    let receipts = stage.receiver.receipts("/all");
    let mut ids: Vec<_> = receipts.iter().map(|r| r.webhook_id.clone().unwrap()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len() as u64, sent, "nothing is lost");
    assert_eq!(receipts.len(), ids.len(), "nothing is repeated");
}

#[test]
fn a_rolling_restart_of_static_members_moves_repeats_and_loses_nothing() {
    // However slow the machine, a restart is shorter than the session.
    let settings = "[kafka.properties]\n\"session.timeout.ms\" = \"120000\"\n";
    let Some(stage) = Stage::new("rolling", settings) else { return };
    roll(&stage);
}

#[test]
fn with_the_new_group_protocol_a_rolling_restart_moves_nothing_either() {
    let settings = "[kafka.properties]\n\"group.protocol\" = \"consumer\"\n";
    let Some(stage) = Stage::new("rolling848", settings) else { return };
    roll(&stage);
}

#[test]
fn a_second_signal_ends_it_at_once_and_what_was_under_way_is_repeated() {
    let Some(stage) = Stage::new("twice", "") else { return };
    stage.connect("slow", json!({"delivery": {"timeout_seconds": 30}}));
    // Longer than the test: only the second signal can end it.
    stage.receiver.set_behaviour("/slow", Behaviour::slow(PATIENCE));
    let service = stage.serve();
    stage.produce(0..1);
    eventually("an attempt is under way", || {
        (service.metric("barnabas_in_flight", "") == 1.0).then_some(())
    });
    service.ask_to_stop();
    eventually("it stops in order", || service.log().contains("stopping in order").then_some(()));
    service.ask_to_stop();
    let told = std::time::Instant::now();
    let log = stage.folder().join("serve-0.log");
    assert_eq!(service.end().code(), Some(143), "{}", std::fs::read_to_string(&log).unwrap());
    assert!(told.elapsed() < Duration::from_secs(10), "the grace is 25 s");
    stage.receiver.set_behaviour("/slow", Behaviour::Healthy);
    let service = stage.serve();
    eventually("it was repeated", || {
        let delivered = service.metric("barnabas_deliveries_total", "\"delivered\"");
        (delivered == 1.0).then_some(())
    });
    service.stop();
}
