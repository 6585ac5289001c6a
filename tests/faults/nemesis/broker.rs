//! Faults of the broker, of the lines to it, and of what it keeps.

use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::sys::signal::Signal;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::{Fault, Nemesis};
use crate::fleet::PATIENCE;
use crate::logs::{EXPIRED, NOT_WRITTEN};
use crate::observation::{Millis, Observation, Partition, Place, now};
use crate::proxy::Line;
use crate::world::{World, disturbed_since, until, within};

/// How long the events of an absence may take after the broker's return: a minute, and another one for what else a
/// machine has to do.
const CAUGHT_UP: Duration = Duration::from_secs(120);
/// How long a broker that is back may take to lead its partitions.
const LEADS_AGAIN: Duration = Duration::from_secs(3);
/// How long a planted fault is let work.
const PLANTED: Duration = Duration::from_secs(10);
const QUESTION: Duration = Duration::from_secs(30);
/// What a stranger may have left in a commit.
const FOREIGN: [&str; 5] =
    ["", "b1.", "b1.AAAAAAAAAAAAAAAA", "{\"owner\":\"ünbekannt\"}", "NO_METADATA"];

impl Nemesis {
    pub(super) fn crash_broker(&mut self, world: &mut World) -> Result<(), String> {
        let from = now();
        // While a broker that is back names no leaders, librdkafka reads beyond its memory (its issue 5280), the auditor's
        // too: clients reach it when it leads again.
        world.broker_line.set(Line::Cut);
        let result = world.broker.crash_and_restart();
        std::thread::sleep(LEADS_AGAIN);
        world.broker_line.set(Line::Good);
        result?;
        wait_until_caught_up(world, now())?;
        world.observe(disturbed_since(from));
        Ok(())
    }

    pub(super) fn freeze_broker(&mut self, world: &mut World) -> Result<(), String> {
        let from = now();
        world.broker.signal(Signal::SIGSTOP)?;
        // The first is short, for a short run has no more.
        let is_long = self.has_done(Fault::BrokerFreeze);
        let (least, most) = if is_long { (30_000, 60_000) } else { (10_000, 20_000) };
        self.pause(least, most);
        world.broker.signal(Signal::SIGCONT)?;
        wait_until_caught_up(world, now())?;
        world.observe(disturbed_since(from));
        Ok(())
    }

    pub(super) fn bend_broker_line(&mut self, world: &mut World) -> Result<(), String> {
        let from = now();
        self.bend(|line| world.broker_line.set(line));
        wait_until_caught_up(world, now())?;
        world.observe(disturbed_since(from));
        Ok(())
    }

    pub(super) fn bend_sink_line(&mut self, world: &mut World) -> Result<(), String> {
        self.bend(|line| world.sink_line.set(line));
        let exchanges = world.sink_line.take_torn();
        world.observe(Observation::Torn { exchanges });
        Ok(())
    }

    fn bend(&mut self, set: impl Fn(Line)) {
        let delayed = Line::Delayed(Duration::from_millis(100 + self.dice.below(400)));
        let mut lines = [delayed, Line::Slow, Line::HalfOpen, Line::Cut];
        self.dice.shuffle(&mut lines);
        for line in &lines[..2] {
            set(*line);
            self.pause(500, 2_500);
        }
        set(Line::Good);
        self.pause(200, 400);
    }

    /// Nothing of ours fits into the topics any more: nothing is dropped, and it is told.
    pub(super) fn forbid_writing(&mut self, world: &mut World) -> Result<(), String> {
        let mut topics = world.scene.topics[1..].to_vec();
        topics.push(world.scene.dead_letters.clone());
        let topic = self.dice.pick(&topics).clone();
        let alter = |change: &[&str]| {
            let mut arguments = vec!["configs", "--alter", "--entity-type", "topics"];
            arguments.extend(["--entity-name", topic.as_str()]);
            arguments.extend(change);
            world.tool(&arguments)
        };
        let complaints = || world.fleet.logs.count(NOT_WRITTEN);
        let before = complaints();
        alter(&["--add-config", "max.message.bytes=100"])?;
        // An instance that swallows the error tells nothing.
        let patience = if world.fleet.plant.is_some() { PLANTED } else { PATIENCE };
        let told = within(patience, "a failed write is told", || complaints() > before);
        let not_ready = told.and_then(|()| {
            until("an instance that cannot write is not ready", || {
                world.fleet.instances.iter().flatten().any(|one| one.readiness() == Some(false))
            })
        });
        // As `topics create` makes it: large enough for an event and our headers.
        alter(&["--add-config", "max.message.bytes=2097152"])?;
        not_ready?;
        wait_until_all_are_ready(world)
    }

    /// While nobody reads, the broker deletes some of what was not read.
    pub(super) fn purge(&mut self, world: &mut World) -> Result<(), String> {
        let count = world.fleet.instances.len();
        (0..count).try_for_each(|place| world.fleet.stop(place))?;
        self.pause(1_000, 3_000);
        if let Some(load) = &world.load {
            load.pause(true);
        }
        self.pause(200, 300);
        world.look_at_everything()?;
        let deleted = delete_some(world);
        if let Some(load) = &world.load {
            load.pause(false);
        }
        for place in deleted? {
            world.observe(Observation::Purged { place });
        }
        world.look_at_everything()?;
        let counted = world.fleet.logs.count(EXPIRED);
        world.start_all()?;
        until("what was deleted is told", || world.fleet.logs.count(EXPIRED) > counted)
    }

    /// While nobody is a member, somebody commits our own offsets with other metadata.
    pub(super) fn commit_as_a_stranger(&mut self, world: &mut World) -> Result<(), String> {
        let count = world.fleet.instances.len();
        (0..count).try_for_each(|place| world.fleet.stop(place))?;
        // Static members stay for their session after they are gone; a stranger's commit is then refused.
        let scene = world.scene.clone();
        let mut done = false;
        let result = until("the group is empty", || {
            done = done
                || commit_foreign(
                    &scene.bootstrap,
                    &scene.group,
                    &scene.topics[0],
                    scene.partitions,
                );
            done
        });
        world.look_at_everything()?;
        world.observe(disturbed_since(now()));
        world.start_all()?;
        result
    }
}

/// What was written before the broker was back is settled soon, and all members are ready: whoever lost something in
/// the fault has noticed.
fn wait_until_caught_up(world: &mut World, back_at: Millis) -> Result<(), String> {
    wait_until_all_are_ready(world)?;
    let facts = std::sync::Arc::clone(&world.auditor.facts);
    within(CAUGHT_UP, "no event is open that was written before the broker was back", || {
        facts.looked_at.load(Ordering::Relaxed) > back_at
            && facts.oldest_event.load(Ordering::Relaxed) > back_at
    })
}

fn wait_until_all_are_ready(world: &mut World) -> Result<(), String> {
    (0..world.fleet.instances.len()).try_for_each(|place| world.fleet.wait_until_ready(place))
}

fn delete_some(world: &World) -> Result<Vec<Place>, String> {
    let topic = &world.scene.topics[0];
    let consumer: BaseConsumer = client(&world.scene.bootstrap, &world.scene.group)?;
    let mut committed = TopicPartitionList::new();
    committed.add_partition_range(topic, 0, world.scene.partitions - 1);
    let committed = consumer.committed_offsets(committed, QUESTION).map_err(|e| e.to_string())?;
    let mut below = TopicPartitionList::new();
    let mut places = Vec::new();
    for element in committed.elements() {
        let Offset::Offset(offset) = element.offset() else { continue };
        let (_, end) = consumer
            .fetch_watermarks(topic, element.partition(), QUESTION)
            .map_err(|error| error.to_string())?;
        // Half of what was not read, in every partition.
        let new_start = offset + (end - offset) / 2;
        if new_start > offset {
            let partition = Partition { topic: 0, number: element.partition() };
            places.push(Place { partition, offset: new_start });
            below
                .add_partition_offset(topic, element.partition(), Offset::Offset(new_start))
                .map_err(|error| error.to_string())?;
        }
    }
    if places.is_empty() {
        return Err("there was nothing to delete".to_owned());
    }
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", &world.scene.bootstrap)
        .create()
        .map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let deleted = runtime.block_on(admin.delete_records(&below, &AdminOptions::new()));
    deleted.map_err(|error| error.to_string())?;
    Ok(places)
}

fn commit_foreign(bootstrap: &str, group: &str, topic: &str, partitions: i32) -> bool {
    let Ok(consumer) = client(bootstrap, group) else { return false };
    let mut list = TopicPartitionList::new();
    list.add_partition_range(topic, 0, partitions - 1);
    let Ok(committed) = consumer.committed_offsets(list, QUESTION) else { return false };
    let mut foreign = TopicPartitionList::new();
    for (element, metadata) in committed.elements().iter().zip(FOREIGN.iter().cycle()) {
        let Offset::Offset(offset) = element.offset() else { continue };
        let mut element = foreign.add_partition(topic, element.partition());
        if element.set_offset(Offset::Offset(offset)).is_err() {
            return false;
        }
        if !metadata.is_empty() {
            element.set_metadata(metadata);
        }
    }
    consumer.commit(&foreign, CommitMode::Sync).is_ok()
}

fn client(bootstrap: &str, group: &str) -> Result<BaseConsumer, String> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("group.id", group).set("log_level", "2");
    config.create().map_err(|error| error.to_string())
}
