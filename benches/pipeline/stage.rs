//! A benchmark's own topics, group, connections and configuration.

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::Offset;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use crate::connection::Connection;
use crate::load::Order;
use crate::process::{self, Memory};
use crate::service::Service;
use crate::world::World;

const PARTITIONS: i32 = 4;
const QUESTION: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(20);
/// A million connections are read in less.
const READY: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub struct Stage<'a> {
    pub world: &'a World,
    name: String,
    config: PathBuf,
    /// Events that were ordered so far: the next one's number, and what will be committed.
    ordered: Cell<u64>,
    services: Cell<u32>,
}

impl<'a> Stage<'a> {
    /// Makes the topics. `delivery` and `other` are lines of TOML, the first for the section of that name.
    pub fn new(world: &'a World, delivery: &str, other: &str) -> Result<Self, String> {
        let name = format!("bench-{}", world.next_stage());
        let config = world.folder.path().join(format!("{name}.toml"));
        let text = format!(
            "[kafka]\nbootstrap_servers = \"{}\"\ngroup_id = \"{name}\"\n\
             [topics]\nevents = \"actions.{name}\"\nprefix = \"{name}\"\nreplication_factor = 1\n\
             [egress]\nallow = [\"127.0.0.0/8\"]\nports = [{port}]\nca_file = \"{ca}\"\n\
             host_rate_per_second = 1000000\nhost_max_in_flight = 100000\n\
             [admin]\nlisten = \"\"\n[telemetry]\nlisten = \"127.0.0.1:0\"\n\
             [log]\nformat = \"json\"\n[attempts]\nlog = \"off\"\n\
             [delivery]\nmax_in_flight_total = 20000\n{delivery}\n{other}\n",
            world.broker.bootstrap,
            port = world.sink.port,
            ca = world.sink.ca_file().display(),
        );
        fs::write(&config, text).map_err(|error| error.to_string())?;
        let partitions = PARTITIONS.to_string();
        let output = Command::new(&world.options.program)
            .args(["topics", "create", "--with-events", "--partitions", &partitions, "--config"])
            .arg(&config)
            .output()
            .map_err(|error| format!("{}: {error}", world.options.program.display()))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        Ok(Self { world, name, config, ordered: Cell::new(0), services: Cell::new(0) })
    }

    /// Writes connections, and waits until the broker has them.
    pub fn connect(&self, connections: impl Iterator<Item = Connection>) -> Result<(), String> {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", &self.world.broker.bootstrap)
            .set("linger.ms", "5")
            .set("queue.buffering.max.messages", "1000000")
            .create()
            .map_err(|error| error.to_string())?;
        let topic = format!("{}.connections", self.name);
        for connection in connections {
            let (key, value) = (connection.key(), connection.value());
            let mut record = BaseRecord::to(&topic).key(&key).payload(&value);
            while let Err((_, back)) = producer.send(record) {
                producer.poll(LOOK);
                record = back;
            }
        }
        producer.flush(READY).map_err(|error| error.to_string())
    }

    /// Starts the service and waits until it is ready.
    pub fn serve(&self) -> Result<Service, String> {
        self.serve_timed().map(|(service, _)| service)
    }

    /// As [`Self::serve`], with how long that took.
    pub fn serve_timed(&self) -> Result<(Service, Duration), String> {
        self.services.set(self.services.get() + 1);
        let log =
            self.world.folder.path().join(format!("{}-{}.log", self.name, self.services.get()));
        let mut service = Service::start(&self.world.options.program, &self.config, log)?;
        let took = service.wait_until_ready(READY)?;
        Ok((service, took))
    }

    /// So many opened emails for a project, as fast as possible.
    ///
    /// They are gathered, and go in large batches, most of a burst into one partition: on two cores, a generator that
    /// sends each millisecond what it has made by then is what would be measured.
    pub fn order(&self, count: u64, project: u64) -> Order {
        let first = self.ordered.get();
        self.ordered.set(first + count);
        Order {
            topic: format!("actions.{}", self.name),
            first,
            count,
            rate: 0,
            linger_ms: 20,
            first_project: project,
            projects: 1,
            event: "message_open".to_owned(),
            age: 0,
            acknowledged: None,
        }
    }

    /// Waits until everything that was ordered is committed.
    pub fn wait_until_committed(&self, time: Duration) -> Result<(), String> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.world.broker.bootstrap)
            .set("group.id", &self.name)
            .create()
            .map_err(|error| error.to_string())?;
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_range(&format!("actions.{}", self.name), 0, PARTITIONS - 1);
        let end = Instant::now() + time;
        loop {
            let committed = consumer
                .committed_offsets(partitions.clone(), QUESTION)
                .map_err(|error| error.to_string())?;
            let sum: i64 = committed.elements().iter().map(|one| offset(one.offset())).sum();
            if u64::try_from(sum).is_ok_and(|sum| sum >= self.ordered.get()) {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(format!("{sum} of {} events are committed", self.ordered.get()));
            }
            thread::sleep(LOOK);
        }
    }

    /// How many records one of our topics has.
    pub fn records(&self, topic: &str, partitions: i32) -> Result<u64, String> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.world.broker.bootstrap)
            .create()
            .map_err(|error| error.to_string())?;
        let topic = format!("{}.{topic}", self.name);
        let mut records = 0;
        for partition in 0..partitions {
            let marks = consumer.fetch_watermarks(&topic, partition, QUESTION);
            let (low, high) = marks.map_err(|error| format!("{topic}: {error}"))?;
            records += u64::try_from(high - low).unwrap_or_default();
        }
        Ok(records)
    }
}

fn offset(offset: Offset) -> i64 {
    let Offset::Offset(offset) = offset else { return 0 };
    offset
}

/// CPU in microseconds and memory of a service, before and after.
pub fn cpu_during<T>(
    service: &Service,
    work: impl FnOnce() -> Result<T, String>,
) -> Result<(f64, T), String> {
    let before = process::cpu_micros(service.pid())?;
    let done = work()?;
    Ok((process::cpu_micros(service.pid())? - before, done))
}

pub fn memory(service: &Service) -> Result<Memory, String> {
    process::memory(service.pid())
}
