//! Everything that a run consists of: broker, sink, connections, instances, load, auditor.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use barnabas::demo::receiver::{Authority, Behaviour, Keep, Receiver};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use tokio::sync::mpsc;

use crate::auditor::{Auditor, Scene};
use crate::broker::Broker;
use crate::campaign::{Kind, SLOTS, Version};
use crate::fleet::{Fleet, PATIENCE};
use crate::judge;
use crate::load::Load;
use crate::observation::{Millis, Observation};
use crate::options::Options;
use crate::proxy::Proxy;

pub const PREFIX: &str = "faults";
const PARTITIONS: i32 = 6;
/// Short, so that a delivery goes through all of it within a run.
const SCHEDULE: [&str; 4] = ["500ms", "1s", "2s", "4s"];
/// Receipts that may wait for the auditor while the broker does not answer it.
const RECEIPTS: usize = 1 << 20;
const SLOW: Duration = Duration::from_millis(200);
/// With no commit for so long, nothing goes on any more.
const STANDSTILL: Duration = Duration::from_secs(120);

type Writer = ThreadedProducer<DefaultProducerContext>;

pub struct World {
    pub fleet: Fleet,
    pub load: Option<Load>,
    pub auditor: Auditor,
    pub sink: Receiver,
    pub sink_line: Proxy,
    pub broker_line: Proxy,
    pub broker: Broker,
    pub scene: Scene,
    writer: Writer,
    /// Of each connection, by project and slot.
    revisions: Vec<Vec<u32>>,
}

impl World {
    pub fn build(options: &Options, folder: PathBuf) -> Result<Self, String> {
        let failed = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
        let broker_line = Proxy::start().map_err(|error| failed("proxy", &error))?;
        let broker = Broker::start(folder.join("kafka"), broker_line.address())?;
        broker_line.lead_to(broker.address());
        let bootstrap = broker_line.address().to_string();

        let authority = Authority::generate().map_err(|error| failed("authority", &error))?;
        let ca = folder.join("ca.pem");
        authority.write_pem(&ca).map_err(|error| failed("authority", &error))?;
        let (receipts, inbox) = mpsc::channel(RECEIPTS);
        let listen = "127.0.0.1:0".parse().expect("an address");
        let sink = Receiver::start(listen, Keep::HandOver(receipts), &authority)
            .map_err(|error| failed("sink", &error))?;
        let sink_line = Proxy::start().map_err(|error| failed("proxy", &error))?;
        sink_line.lead_to(sink.address());

        let ports = [sink.address().port(), sink_line.address().port()];
        let fleet =
            Fleet::new(options.program.clone(), folder, options.plant.clone(), options.instances);
        fs::write(fleet.config(), config(&bootstrap, &ca, ports))
            .map_err(|error| failed("configuration", &error))?;
        create_topics(&fleet)?;
        let scene = scene(&bootstrap);
        let auditor = Auditor::start(scene.clone(), inbox);
        let writer = ClientConfig::new()
            .set("bootstrap.servers", &bootstrap)
            .set("log_level", "2")
            .create()
            .map_err(|error| failed("producer", &error))?;
        let revisions = vec![vec![0; SLOTS.len()]; crate::campaign::PROJECTS as usize];
        let mut world = Self {
            fleet,
            load: None,
            auditor,
            sink,
            sink_line,
            broker_line,
            broker,
            scene,
            writer,
            revisions,
        };
        for (project, slot) in judge::connections() {
            world.edit(project, slot);
        }
        world.flush()?;
        Ok(world)
    }

    pub fn start_all(&mut self) -> Result<(), String> {
        let places = 0..self.fleet.instances.len();
        places.clone().try_for_each(|place| self.fleet.start(place, None))?;
        places.into_iter().try_for_each(|place| self.fleet.wait_until_ready(place))
    }

    pub fn start_load(&mut self, rate: u32) {
        let topic = self.scene.topics[0].clone();
        let observed = self.auditor.observed.clone();
        self.load = Some(Load::start(&self.scene.bootstrap, topic, rate, observed));
    }

    /// How many commits were seen that said something new.
    pub fn commits(&self) -> u64 {
        self.auditor.facts.commits.load(Ordering::Relaxed)
    }

    pub fn observe(&self, observation: Observation) {
        let _ = self.auditor.observed.send(observation);
    }

    /// A new revision with a URL and a token of its own.
    pub fn edit(&mut self, project: u32, slot: usize) -> Version {
        let version = self.next_version(project, slot);
        self.sink.set_behaviour(&version.path(), behaviour(SLOTS[slot]));
        self.put(version, true);
        version
    }

    /// A new revision that is inactive.
    pub fn deactivate(&mut self, project: u32, slot: usize) {
        let version = self.next_version(project, slot);
        self.put(version, false);
    }

    pub fn delete(&self, project: u32, slot: usize) {
        self.write(&Version { project, slot, revision: 0 }.key(), None);
    }

    /// A record that cannot be read, in place of the connection's.
    pub fn corrupt(&self, project: u32, slot: usize) {
        let key = Version { project, slot, revision: 0 }.key();
        self.write(&key, Some(b"{\"schema\":1,\"url\":\"http://"));
    }

    pub fn flush(&self) -> Result<(), String> {
        self.writer.flush(PATIENCE).map_err(|error| format!("the connections' records: {error}"))
    }

    /// Every endpoint of these kinds behaves so; `None` as it usually does.
    pub fn set_endpoints(&self, kinds: &[Kind], behave: Option<&Behaviour>) {
        for (project, slot) in judge::connections() {
            let kind = SLOTS[slot];
            if kinds.contains(&kind) {
                let revision = self.revisions[project as usize][slot];
                let path = Version { project, slot, revision }.path();
                self.sink.set_behaviour(&path, behave.cloned().unwrap_or_else(|| behaviour(kind)));
            }
        }
    }

    /// Waits until the auditor has seen everything that there is.
    pub fn look_at_everything(&self) -> Result<(), String> {
        let facts = &self.auditor.facts;
        let seen = facts.complete.load(Ordering::Relaxed);
        facts.wanted.store(true, Ordering::Relaxed);
        // The round that was under way may have begun too early.
        until("the auditor sees everything", || {
            facts.wanted.store(true, Ordering::Relaxed);
            facts.complete.load(Ordering::Relaxed) >= seen + 2
        })
    }

    /// Waits until all that was written is settled and committed; gives up when nothing moves any more.
    pub fn drain(&mut self) -> Result<(), String> {
        let written = self.load.take().map_or(0, Load::stop) as usize;
        let facts = std::sync::Arc::clone(&self.auditor.facts);
        let mut moved = (Instant::now(), (0, 0));
        loop {
            let (events, open) =
                (facts.events.load(Ordering::Relaxed), facts.open.load(Ordering::Relaxed));
            if events >= written && open == 0 {
                self.look_at_everything()?;
                if facts.open.load(Ordering::Relaxed) == 0 {
                    return Ok(());
                }
            }
            let now = (facts.commits.load(Ordering::Relaxed), events);
            if now != moved.1 {
                moved = (Instant::now(), now);
            }
            if moved.0.elapsed() > STANDSTILL {
                return Err(format!(
                    "it stands still: {events} of {written} events, {open} records open"
                ));
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Runs one of Kafka's own tools.
    pub fn tool(&self, arguments: &[&str]) -> Result<(), String> {
        let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kafka/tool");
        let mut command = Command::new(tool);
        command.arg(arguments[0]).args(["--bootstrap-server", &self.scene.bootstrap]);
        let output = command.args(&arguments[1..]).output().map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr)))
    }

    fn next_version(&mut self, project: u32, slot: usize) -> Version {
        let revision = &mut self.revisions[project as usize][slot];
        *revision += 1;
        Version { project, slot, revision: *revision }
    }

    fn put(&self, version: Version, is_active: bool) {
        let line = match SLOTS[version.slot] {
            Kind::Proxied => self.sink_line.address(),
            _ => self.sink.address(),
        };
        let record = version.record(line.port(), is_active).to_string();
        self.write(&version.key(), Some(record.as_bytes()));
    }

    fn write(&self, key: &str, value: Option<&[u8]>) {
        let topic = format!("{PREFIX}.connections");
        let mut record = BaseRecord::<str, [u8]>::to(&topic).key(key);
        record.payload = value;
        self.writer.send(record).map_err(|(error, _)| error).expect("the queue has room");
    }
}

/// Waits for a fact.
pub fn until(what: &str, look: impl FnMut() -> bool) -> Result<(), String> {
    within(PATIENCE, what, look)
}

/// Waits for a fact that must come soon.
pub fn within(time: Duration, what: &str, mut look: impl FnMut() -> bool) -> Result<(), String> {
    let end = Instant::now() + time;
    while !look() {
        if Instant::now() > end {
            return Err(format!("not within {time:?}: {what}"));
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// From that time on until now.
pub fn disturbed_since(from: Millis) -> Observation {
    Observation::Disturbed { from, until: crate::observation::now() }
}

fn behaviour(kind: Kind) -> Behaviour {
    match kind {
        Kind::Flaky => Behaviour::Flaky { share: 0.1 },
        Kind::Slow => Behaviour::slow(SLOW),
        Kind::Dead => Behaviour::status(http::StatusCode::INTERNAL_SERVER_ERROR),
        Kind::Hanging => Behaviour::Hang,
        Kind::Healthy
        | Kind::Proxied
        | Kind::Limited
        | Kind::Edited
        | Kind::Toggled
        | Kind::Unreadable => Behaviour::Healthy,
    }
}

fn scene(bootstrap: &str) -> Scene {
    let tiers = SCHEDULE.iter().map(|delay| format!("{PREFIX}.retry.{delay}"));
    Scene {
        bootstrap: bootstrap.to_owned(),
        group: PREFIX.to_owned(),
        topics: std::iter::once(format!("{PREFIX}.actions")).chain(tiers).collect(),
        dead_letters: format!("{PREFIX}.dead-letters"),
        partitions: PARTITIONS,
    }
}

fn config(bootstrap: &str, ca: &Path, ports: [u16; 2]) -> String {
    format!(
        "[kafka]\nbootstrap_servers = \"{bootstrap}\"\ngroup_id = \"{PREFIX}\"\n\
         [kafka.properties]\n\"session.timeout.ms\" = \"6000\"\n\"heartbeat.interval.ms\" = \"1000\"\n\
         [topics]\nevents = \"{PREFIX}.actions\"\nprefix = \"{PREFIX}\"\nreplication_factor = 1\n\
         [retry]\nschedule = {SCHEDULE:?}\n\
         [egress]\nallow = [\"127.0.0.1/32\"]\nports = {ports:?}\nca_file = \"{}\"\n\
         [admin]\nlisten = \"\"\n[telemetry]\nlisten = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n",
        ca.display()
    )
}

fn create_topics(fleet: &Fleet) -> Result<(), String> {
    let output = Command::new(&fleet.program)
        .args(["topics", "create", "--with-events", "--partitions", &PARTITIONS.to_string()])
        .arg("--config")
        .arg(fleet.config())
        .output()
        .map_err(|error| format!("{:?}: {error}", fleet.program))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("topics create: {}", String::from_utf8_lossy(&output.stderr)))
}
