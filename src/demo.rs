//! The demo: everything in one process, with nothing installed.
//!
//! An embedded broker, a receiver over TLS whose endpoints misbehave, connections, a campaign, and between them the
//! real service as `serve` runs it. What happens is counted by witnesses that know nothing of the engine, and in the
//! end their sums have to agree.
//!
//! ```text
//! Starting ──the groups are joined──▶ Running ──its time is over, or a signal──▶ Settling ──all settled,──▶ Stopping
//!                                                                                           or too late
//! ```
//!
//! The parts are also good for tests and other commands: [`broker`], [`campaign`], [`receiver`]. Never part of `serve`.

mod arrivals;
pub mod broker;
pub mod campaign;
mod cast;
mod folder;
mod leftovers;
pub mod receiver;
mod screen;
mod service;
mod speed;
mod stage;
pub mod tally;
mod view;
mod wave;
mod writer;

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rdkafka::error::KafkaError;
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;

use self::broker::BrokerError;
use self::cast::CAST;
use self::folder::Folder;
use self::receiver::ReceiverError;
use self::screen::Screen;
use self::speed::Speed;
use self::stage::Stage;
use self::tally::Summary;
use self::view::{Act, Picture, Row};
use crate::app::AppError;
use crate::config::log::{LogConfig, LogFormat};
use crate::engine::retry::RetryConfigError;

pub use self::screen::Show;
pub use self::view::summary as summary_lines;

/// What happens, for somebody who sees it for the first time.
const SENTENCE: &str =
    "Campaign events go from an embedded Kafka to six TLS webhooks; not all behave.";

/// Events are written and receipts are taken in so often.
const TICK: Duration = Duration::from_millis(20);

/// The service joins its groups in a fraction of a second.
const START_LIMIT: Duration = Duration::from_secs(30);

/// After the campaign: the horizon of the schedule (19 s), the last tier's wait (5 s), and as much again.
const SETTLE_LIMIT: Duration = Duration::from_secs(45);

/// The exit code of a process that was told twice: 128 + SIGINT.
const EXIT_TOLD_TWICE: i32 = 130;

/// What is to be shown, and how.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How long the campaign runs; `None` until a signal.
    pub length: Option<Duration>,
    /// The campaign's mean pace.
    pub events_per_second: u32,
    /// Where the campaign's dice start.
    pub seed: u64,
    /// How what happens is shown.
    pub show: Show,
}

/// Why the demo cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The embedded broker.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The receiver.
    #[error(transparent)]
    Receiver(#[from] ReceiverError),
    /// The service, which is what the demo is about.
    #[error("the service: {0}")]
    Service(#[from] AppError),
    /// A client of the demo's own.
    #[error("the demo's own Kafka client: {0}")]
    Kafka(#[from] KafkaError),
    /// The schedule, which is ours.
    #[error("the retry schedule: {0}")]
    Retry(#[from] RetryConfigError),
    /// A folder, a socket or the terminal.
    #[error("the system refused: {0}")]
    System(#[from] io::Error),
    /// The broker did not take everything.
    #[error("{open} records were not acknowledged by the embedded broker")]
    Unwritten {
        /// How many.
        open: u64,
    },
    /// The service did not join its groups.
    #[error("the service was not ready within {0:?}")]
    NotReady(Duration),
}

/// Runs the demo to its end.
///
/// # Errors
/// [`DemoError`] where it cannot go on. Sums that do not agree are no error: the summary tells them.
pub fn run(plan: &Plan) -> Result<Summary, DemoError> {
    let folder = Folder::make()?;
    match plan.show {
        Show::Table | Show::Lines => folder.start_log()?,
        Show::Log => LogConfig { format: LogFormat::Text, ..LogConfig::default() }.init(),
    }
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let summary = runtime.block_on(Box::pin(play(plan, &folder)));
    if folder.has_log() {
        writeln!(io::stderr(), "The service's log: {}", folder.log_file().display())?;
    }
    summary
}

async fn play(plan: &Plan, folder: &Folder) -> Result<Summary, DemoError> {
    let mut signals = Signals::listen()?;
    let mut screen = Screen::open(plan.show, SENTENCE)?;
    let stage = Stage::build(plan, folder).await?;
    if let Some(link) = stage.console_link() {
        Screen::say(&format!("The console, until the demo ends: {link}"))?;
    }
    let mut play = Play::new(*plan, stage, folder.log_file());
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !play.is_over() {
        let is_told = tokio::select! {
            _ = ticks.tick() => false,
            () = signals.next() => true,
        };
        if is_told && play.is_told() {
            // At once means at once: nothing is waited for, only the terminal and the folder are left in order.
            screen.close();
            folder.clear();
            std::process::exit(EXIT_TOLD_TWICE);
        }
        play.go_on()?;
        if screen.wants(play.now()) {
            let picture = play.picture().await;
            screen.show(play.now(), &picture)?;
        }
    }
    let summary = play.end();
    screen.close();
    summary
}

/// Where the demo is. Each time counts from the demo's start.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// The service is coming up.
    Starting,
    /// Events are written since then.
    Running { since: Duration },
    /// None is written any more; that long at most, it waits for those that are open.
    Settling { since: Duration },
    /// The service was asked to stop.
    Stopping,
}

/// A run of the demo.
#[derive(Debug)]
struct Play {
    plan: Plan,
    stage: Stage,
    log: PathBuf,
    phase: Phase,
    started: Instant,
    /// How long the campaign has run, or ran.
    campaign: Duration,
    is_told: bool,
    speed: Speed,
}

impl Play {
    fn new(plan: Plan, stage: Stage, log: PathBuf) -> Self {
        Self {
            plan,
            stage,
            log,
            phase: Phase::Starting,
            started: Instant::now(),
            campaign: Duration::ZERO,
            is_told: false,
            speed: Speed::default(),
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn is_over(&self) -> bool {
        self.stage.service.as_ref().is_none_or(|service| service.is_over())
    }

    /// Takes a signal; whether it was the second.
    fn is_told(&mut self) -> bool {
        std::mem::replace(&mut self.is_told, true)
    }

    /// Does what this moment asks for.
    fn go_on(&mut self) -> Result<(), DemoError> {
        self.stage.take_in()?;
        let now = self.now();
        match self.phase {
            Phase::Starting => self.go_on_starting(now)?,
            Phase::Running { since } => self.go_on_running(now, now - since)?,
            Phase::Settling { since } => {
                self.stage.direct(self.campaign + (now - since));
                if self.stage.is_settled() || now - since >= SETTLE_LIMIT {
                    self.stop();
                }
            }
            Phase::Stopping => {}
        }
        Ok(())
    }

    fn go_on_starting(&mut self, now: Duration) -> Result<(), DemoError> {
        if self.is_told {
            self.stop();
        } else if self.stage.service.as_ref().is_some_and(|service| service.is_ready()) {
            self.phase = Phase::Running { since: now };
        } else if now >= START_LIMIT {
            return Err(DemoError::NotReady(START_LIMIT));
        }
        Ok(())
    }

    fn go_on_running(&mut self, now: Duration, elapsed: Duration) -> Result<(), DemoError> {
        let length = self.plan.length.unwrap_or(Duration::MAX);
        self.campaign = elapsed.min(length);
        self.stage.direct(self.campaign);
        self.stage.write_due(self.campaign)?;
        if elapsed >= length || self.is_told {
            self.stage.writer.flush()?;
            self.phase = Phase::Settling { since: now };
        }
        Ok(())
    }

    fn stop(&mut self) {
        self.phase = Phase::Stopping;
        if let Some(service) = &self.stage.service {
            service.ask_to_stop();
        }
    }

    async fn picture(&mut self) -> Picture {
        self.stage.look_at_lanes().await;
        let now = self.now();
        let accounts = self.stage.accounts();
        let written = self.stage.writer.written();
        let delivered = accounts.iter().map(|account| account.delivered);
        let counters = delivered.chain([written.events]).collect();
        let mut speeds = self.speed.look(now, counters).into_iter();
        let row = |(account, role)| Row {
            account,
            per_second: speeds.next().unwrap_or_default(),
            state: self.stage.lane_state(role),
        };
        let rows = accounts.into_iter().zip(&CAST).map(row).collect();
        Picture {
            act: match self.phase {
                Phase::Starting => Act::Starting,
                Phase::Running { .. } => Act::Running,
                Phase::Settling { since } => {
                    Act::Settling(SETTLE_LIMIT.saturating_sub(now - since))
                }
                Phase::Stopping => Act::Stopping,
            },
            elapsed: now,
            written,
            events_per_second: speeds.next().unwrap_or_default(),
            telemetry: self.stage.telemetry(),
            log: self.log.clone(),
            rows,
        }
    }

    /// When the service is over: how it ended, and the sums.
    fn end(mut self) -> Result<Summary, DemoError> {
        if let Some(service) = self.stage.service.take() {
            service.end()?;
        }
        let summary = self.stage.sum_up()?;
        Ok(Summary {
            seed: self.plan.seed,
            campaign_seconds: self.campaign.as_secs_f64(),
            took_seconds: self.now().as_secs_f64(),
            ..summary
        })
    }
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
