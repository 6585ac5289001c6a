//! The auditor: sees everything, ten times a second, and tells the judge.
//!
//! One thread reads what the groups have committed, then takes up every receipt and every record that there is by
//! then. So whatever happened before a commit has been observed when the commit is checked.

mod tail;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use barnabas::demo::receiver::Receipt;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::sync::mpsc;

use self::tail::Tail;
use crate::campaign::{EventNo, Version};
use crate::judge::Judge;
use crate::observation::{Millis, Observation, Pair, Partition, now};

const ROUND: Duration = Duration::from_millis(100);
/// While the broker is away, a question must not keep the receipts waiting.
const QUESTION: Duration = Duration::from_secs(2);
/// Suspects are heard so often: it costs a question for each partition.
const HEARING: Duration = Duration::from_millis(500);

/// Where to look.
#[derive(Clone, Debug)]
pub struct Scene {
    pub bootstrap: String,
    /// The events group; the tiers' has `.retry` added.
    pub group: String,
    /// The events topic and the tiers, by their number in [`Partition`].
    pub topics: Vec<String>,
    pub dead_letters: String,
    pub partitions: i32,
}

/// What the others may know while it runs.
#[derive(Debug, Default)]
pub struct Facts {
    /// Records that are not settled, by the last commits.
    pub open: AtomicUsize,
    /// When the oldest event was written that is not settled by the last commits, in UNIX milliseconds.
    pub oldest_event: AtomicU64,
    /// When the last commits were read.
    pub looked_at: AtomicU64,
    pub receipts: AtomicU64,
    pub dead_letters: AtomicU64,
    pub waits: AtomicU64,
    pub commits: AtomicU64,
    /// Rounds in which everything that there was has been seen.
    pub complete: AtomicU64,
    /// Events seen in the log.
    pub events: AtomicUsize,
    /// Ask for a complete round.
    pub wanted: AtomicBool,
}

#[derive(Debug)]
pub struct Auditor {
    pub facts: Arc<Facts>,
    pub observed: Sender<Observation>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Observation>>,
}

impl Auditor {
    pub fn start(scene: Scene, receipts: mpsc::Receiver<Receipt>) -> Self {
        let (observed, others) = channel();
        let facts = Arc::<Facts>::default();
        let stop = Arc::<AtomicBool>::default();
        let (shared, asked) = (Arc::clone(&facts), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let mut desk = Desk::new(scene, receipts, others, shared);
            while !asked.load(Ordering::Relaxed) {
                let started = Instant::now();
                desk.round();
                thread::sleep(ROUND.saturating_sub(started.elapsed()));
            }
            desk.close()
        });
        Self { facts, observed, stop, thread }
    }

    /// Ends with a last look at everything. Answers all that was seen.
    pub fn stop(self) -> Vec<Observation> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the auditor ends")
    }
}

struct Desk {
    scene: Scene,
    events: BaseConsumer,
    retries: BaseConsumer,
    tail: Tail,
    receipts: mpsc::Receiver<Receipt>,
    others: Receiver<Observation>,
    facts: Arc<Facts>,
    judge: Judge,
    log: Vec<Observation>,
    committed: HashMap<Partition, (i64, String)>,
    /// When the last commits were read.
    looked_at: Millis,
    heard: Instant,
}

impl Desk {
    fn new(
        scene: Scene,
        receipts: mpsc::Receiver<Receipt>,
        others: Receiver<Observation>,
        facts: Arc<Facts>,
    ) -> Self {
        let group = |suffix: &str| {
            let client = ClientConfig::new()
                .set("bootstrap.servers", &scene.bootstrap)
                .set("group.id", format!("{}{suffix}", scene.group))
                .set("reconnect.backoff.max.ms", "500")
                .set("log_level", "2")
                .create::<BaseConsumer>();
            client.expect("a consumer that only asks")
        };
        Self {
            events: group(""),
            retries: group(".retry"),
            tail: Tail::open(&scene),
            scene,
            receipts,
            others,
            facts,
            judge: Judge::default(),
            log: Vec::new(),
            committed: HashMap::new(),
            looked_at: 0,
            heard: Instant::now(),
        }
    }

    fn round(&mut self) {
        let commits = self.commits();
        let looked_at = now();
        self.take_up();
        if let Some(commits) = commits {
            self.looked_at = looked_at;
            for (partition, (offset, metadata)) in commits {
                let news = (offset, metadata);
                if self.committed.get(&partition) == Some(&news) {
                    continue;
                }
                self.committed.insert(partition, news.clone());
                let (offset, metadata) = news;
                self.note(Observation::Commit { partition, offset, metadata, at: looked_at });
            }
        }
        let is_wanted = self.facts.wanted.load(Ordering::Relaxed);
        if (self.judge.has_suspects() || is_wanted) && self.heard.elapsed() >= HEARING {
            self.look_at_everything();
        }
        self.show();
    }

    /// Takes up all that there is now, so that what happened before the last commits is known.
    fn look_at_everything(&mut self) {
        let at = self.looked_at;
        self.heard = Instant::now();
        let mut seen = Vec::new();
        let reached = self.tail.reach_ends(|observation| seen.push(observation));
        seen.into_iter().for_each(|observation| self.note(observation));
        if reached {
            self.take_up();
            self.note(Observation::Complete { at });
            self.facts.wanted.store(false, Ordering::Relaxed);
            self.facts.complete.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn take_up(&mut self) {
        while let Ok(receipt) = self.receipts.try_recv() {
            if let Some(observation) = judge_receipt(&receipt) {
                self.facts.receipts.fetch_add(1, Ordering::Relaxed);
                self.note(observation);
            }
        }
        while let Some(observation) = self.tail.next() {
            self.note(observation);
        }
        while let Ok(observation) = self.others.try_recv() {
            self.note(observation);
        }
    }

    fn note(&mut self, observation: Observation) {
        match &observation {
            Observation::DeadLetter { .. } => {
                self.facts.dead_letters.fetch_add(1, Ordering::Relaxed)
            }
            Observation::Waiting { .. } => self.facts.waits.fetch_add(1, Ordering::Relaxed),
            Observation::Event { .. } => self.facts.events.fetch_add(1, Ordering::Relaxed) as u64,
            _ => 0,
        };
        self.judge.observe(&observation);
        self.log.push(observation);
    }

    fn show(&self) {
        self.facts.open.store(self.judge.open_records(), Ordering::Relaxed);
        let oldest = self.judge.oldest_event().unwrap_or(self.looked_at);
        self.facts.oldest_event.store(oldest, Ordering::Relaxed);
        self.facts.looked_at.store(self.looked_at, Ordering::Relaxed);
        self.facts.commits.store(self.judge.commits(), Ordering::Relaxed);
    }

    /// What both groups have committed; `None` if the broker does not say.
    fn commits(&self) -> Option<Vec<(Partition, (i64, String))>> {
        let mut commits = Vec::new();
        for (consumer, topics) in
            [(&self.events, 0..1), (&self.retries, 1..self.scene.topics.len())]
        {
            let mut list = TopicPartitionList::new();
            for topic in &self.scene.topics[topics] {
                list.add_partition_range(topic, 0, self.scene.partitions - 1);
            }
            let answer = consumer.committed_offsets(list, QUESTION).ok()?;
            for element in answer.elements() {
                element.error().ok()?;
                let Offset::Offset(offset) = element.offset() else { continue };
                let topic = self.scene.topics.iter().position(|name| name == element.topic())?;
                let topic = u16::try_from(topic).ok()?;
                let partition = Partition { topic, number: element.partition() };
                commits.push((partition, (offset, element.metadata().to_owned())));
            }
        }
        Some(commits)
    }

    fn close(mut self) -> Vec<Observation> {
        for _ in 0..30 {
            let seen = self.facts.complete.load(Ordering::Relaxed);
            self.facts.wanted.store(true, Ordering::Relaxed);
            self.heard = Instant::now().checked_sub(HEARING).unwrap_or(self.heard);
            self.round();
            if self.facts.complete.load(Ordering::Relaxed) > seen {
                return self.log;
            }
        }
        self.note(Observation::Missed(
            "the broker did not answer the auditor's last look".to_owned(),
        ));
        self.log
    }
}

/// What a request says; `None` for one that was not answered 2xx.
pub fn judge_receipt(receipt: &Receipt) -> Option<Observation> {
    receipt.status.filter(http::StatusCode::is_success)?;
    let id = receipt.webhook_id.as_deref().unwrap_or_default();
    let phantom = |what: &str| Observation::Phantom(format!("{what}: {id} at {}", receipt.path));
    let Some(version) = Version::parse(&receipt.path) else {
        return Some(phantom("a request to nobody"));
    };
    let Some(event) = EventNo::parse(id) else { return Some(phantom("a request of no event")) };
    let token = format!("Bearer {}", version.token());
    if event.project() != version.project || !event.is_wanted_by(version.slot) {
        return Some(phantom("a delivery to a connection that does not match"));
    }
    if receipt.authorization.as_deref() != Some(&token) {
        return Some(phantom("an address with another revision's token"));
    }
    if receipt.body != event.body() {
        return Some(phantom("a changed body"));
    }
    let since = receipt.at.duration_since(std::time::UNIX_EPOCH).ok()?;
    let at = u64::try_from(since.as_millis()).ok()?;
    Some(Observation::Receipt { pair: Pair { event, slot: version.slot }, at })
}
