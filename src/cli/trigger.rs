//! `barnabas trigger`: writes sample campaign events, or a file's, to the events topic.
//!
//! Decides what is written and how fast; `outbox` writes it and waits for the broker's acknowledgements. The events
//! themselves are the demo's. Progress goes to stderr, the final count to stdout.

use std::io::{self, Write};
use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;

use self::outbox::Outbox;
use self::sample::Sample;
use super::{CliError, Context, Output};
use crate::demo::campaign::{Campaign, Oddities, Script};
use crate::engine::catalog::{Catalog, Names};

mod outbox;
mod sample;

/// Enough to see something, too few to hurt anybody.
const DEFAULT_COUNT: u64 = 100;

/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
Examples:
  barnabas trigger                                        100 events of a campaign
  barnabas trigger --count 10000 --rate 500/s             at most 500 a second
  barnabas trigger --event message_failure --channel sms --count 1
  barnabas trigger --project 4172 --project 4173 --seed 7 the same recipients every time
  barnabas trigger --file events.ndjson                   one event a line; - reads stdin";

/// Arguments of `barnabas trigger`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// How many events; 100 unless told, and the whole file with --file
    #[arg(long, value_name = "N", value_parser = parse_count)]
    count: Option<NonZeroU64>,
    /// At most so many a second; as fast as the broker takes them unless told
    #[arg(long, value_name = "N[/s]", value_parser = parse_rate)]
    rate: Option<NonZeroU32>,
    /// The project; repeat it to spread the events over several
    #[arg(long, value_name = "ID", default_value = "4172")]
    project: Vec<String>,
    /// Only this event, once for each recipient, and nothing odd; without it the usual mix
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
    /// Only this channel; without it mobile_push and email
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,
    /// The same seed draws the same recipients; times and ids are of now
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Leave out what a real stream has: 0.1 % duplicates, a few malformed events and unknown names
    #[arg(long)]
    clean: bool,
    /// Let every tenth event belong to a journey, which is counted and not delivered
    #[arg(long, conflicts_with_all = ["clean", "event"])]
    multi_stage: bool,
    /// Take the events from this file (one JSON object a line), not from a campaign; - is stdin
    #[arg(
        long, value_name = "FILE",
        conflicts_with_all = ["project", "event", "channel", "seed", "clean", "multi_stage"]
    )]
    file: Option<PathBuf>,
}

impl Args {
    /// What a campaign is to consist of.
    fn script(self, seed: u64) -> Script {
        let oddities = match (self.clean || self.event.is_some(), self.multi_stage) {
            (true, _) => Oddities::NONE,
            (false, true) => Oddities::WITH_JOURNEYS,
            (false, false) => Oddities::LOAD_MODEL,
        };
        Script {
            projects: self.project,
            event: self.event,
            channel: self.channel,
            oddities,
            seed,
            ..Script::default()
        }
    }

    /// How many events there will be, where that is known.
    fn total(&self) -> Option<u64> {
        let asked = self.count.map(NonZeroU64::get);
        if self.file.is_some() { asked } else { asked.or(Some(DEFAULT_COUNT)) }
    }

    /// The events to write, each made when its turn comes.
    fn samples(self) -> Result<Box<dyn Iterator<Item = Result<Sample, CliError>>>, CliError> {
        let limit = self.total().unwrap_or(u64::MAX);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if let Some(path) = &self.file {
            return Ok(Box::new(sample::from_file(path)?.take(limit)));
        }
        let seed = self.seed.unwrap_or_else(seed_of_now);
        writeln!(io::stderr(), "seed {seed}")?;
        let mut campaign = Campaign::new(self.script(seed));
        let samples = std::iter::repeat_with(move || Ok(campaign.event_at(seconds_now()).into()));
        Ok(Box::new(samples.take(limit)))
    }
}

/// Runs `barnabas trigger`.
///
/// # Errors
/// [`CliError::Unreachable`] where the broker does not answer or stops to acknowledge, [`CliError::NotFound`] where
/// the topic or the file does not exist, [`CliError::Usage`] for a name that the catalog does not have,
/// [`CliError::Failed`] where the broker refuses an event, [`CliError::Config`].
pub fn run(args: Args, context: &Context) -> Result<(), CliError> {
    let config = context.config()?;
    let topic = &config.topics.events;
    let catalog = Catalog::new(&config.catalog)
        .map_err(|_| CliError::Failed("the catalog cannot be used".to_owned()))?;
    known("event", args.event.as_deref(), &catalog.events)?;
    known("channel", args.channel.as_deref(), &catalog.channels)?;
    let pace = Pace { rate: args.rate, total: args.total() };
    let samples = args.samples()?;
    let outbox = Outbox::open(&config.kafka, topic)?;
    let written = write_all(outbox, samples, &pace)?;

    let mut out = io::stdout().lock();
    match context.output() {
        Output::Table => writeln!(out, "{written} events written to {topic}")?,
        Output::Json => writeln!(out, "{}", json!({"topic": topic, "written": written}))?,
    }
    Ok(out.flush()?)
}

/// Refuses a name that the catalog does not have: nobody can have asked for it, and a slip would look like a loss.
fn known(what: &str, asked: Option<&str>, names: &Names) -> Result<(), CliError> {
    let Some(asked) = asked.filter(|name| names.find(name).is_none()) else { return Ok(()) };
    let all: Vec<_> = names.iter().map(|name| &*name.name).collect();
    Err(CliError::Usage(format!(
        "the catalog has no {what} `{asked}`; it has {} (--file writes anything)",
        all.join(", ")
    )))
}

/// How fast, and how far it is.
struct Pace {
    rate: Option<NonZeroU32>,
    total: Option<u64>,
}

impl Pace {
    /// When, after the start, the event with this number (from 0) may go.
    fn due(&self, number: u64) -> Duration {
        let Some(rate) = self.rate else {
            return Duration::ZERO;
        };
        let rate = u64::from(rate.get());
        // The remainder keeps the division exact for any rate and count.
        let nanos = (number % rate).saturating_mul(1_000_000_000) / rate;
        Duration::from_secs(number / rate) + Duration::from_nanos(nanos)
    }
}

/// Writes everything and waits for all acknowledgements; the number of events written.
fn write_all(
    mut outbox: Outbox,
    samples: impl Iterator<Item = Result<Sample, CliError>>,
    pace: &Pace,
) -> Result<u64, CliError> {
    let started = Instant::now();
    let mut told = started;
    for (number, sample) in (0..).zip(samples) {
        let sample = sample?;
        loop {
            if told.elapsed() >= PROGRESS_EVERY {
                told = Instant::now();
                tell_progress(&outbox, pace.total)?;
            }
            let early = pace.due(number).saturating_sub(started.elapsed());
            if early.is_zero() {
                break;
            }
            thread::sleep(early.min(PROGRESS_EVERY));
        }
        outbox.put(&sample)?;
    }
    outbox.close()
}

fn tell_progress(outbox: &Outbox, total: Option<u64>) -> io::Result<()> {
    let written = outbox.acknowledged();
    let mut talk = io::stderr().lock();
    match total {
        Some(total) => writeln!(talk, "{written} of {total} events written"),
        None => writeln!(talk, "{written} events written"),
    }
}

fn parse_count(text: &str) -> Result<NonZeroU64, &'static str> {
    text.parse().map_err(|_| "a count is a whole number from 1")
}

fn parse_rate(text: &str) -> Result<NonZeroU32, &'static str> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    number.parse().map_err(|_| "a rate is a whole number from 1, such as 500 or 500/s")
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

fn seconds_now() -> u64 {
    since_epoch().as_secs()
}

/// Different at every start.
fn seed_of_now() -> u64 {
    u64::from(since_epoch().subsec_nanos()) ^ (seconds_now() << 30)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::demo::broker::{Broker, CLIENT_PROPERTIES};
    use crate::kafka::client::KafkaConfig;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Line::try_parse_from(line.split_whitespace()).map(|line| line.args)
    }

    fn kafka(bootstrap: &str) -> KafkaConfig {
        let properties = CLIENT_PROPERTIES.map(|(key, value)| (key.to_owned(), value.to_owned()));
        KafkaConfig {
            bootstrap_servers: bootstrap.to_owned(),
            properties: properties.into(),
            ..KafkaConfig::default()
        }
    }

    #[test]
    fn everything_is_acknowledged() {
        let broker = Broker::start(&[("campaign.actions", 4)]).unwrap();
        let args = parse("trigger --count 2500 --seed 7").unwrap();
        let outbox = Outbox::open(&kafka(broker.bootstrap()), "campaign.actions").unwrap();
        let pace = Pace { rate: None, total: args.total() };
        assert_eq!(write_all(outbox, args.samples().unwrap(), &pace).unwrap(), 2500);
    }

    #[test]
    fn a_rate_is_kept() {
        let pace = Pace { rate: NonZeroU32::new(300), total: None };
        assert_eq!(pace.due(0), Duration::ZERO);
        assert_eq!(pace.due(150), Duration::from_millis(500));
        assert_eq!(pace.due(900), Duration::from_secs(3));
        assert_eq!(Pace { rate: None, total: None }.due(u64::MAX), Duration::ZERO);
    }

    #[test]
    fn a_single_event_has_nothing_odd() {
        let script = parse("trigger --event message_open --channel sms").unwrap().script(1);
        assert_eq!(script.oddities, Oddities::NONE);
        assert_eq!(script.channel.as_deref(), Some("sms"));
        let script = parse("trigger --project a --project b --multi-stage").unwrap().script(1);
        assert_eq!(script.oddities, Oddities::WITH_JOURNEYS);
        assert_eq!(script.projects, ["a", "b"]);
    }

    #[test]
    fn a_file_is_written_whole_unless_told() {
        assert_eq!(parse("trigger").unwrap().total(), Some(100));
        assert_eq!(parse("trigger --file x").unwrap().total(), None);
        assert_eq!(parse("trigger --file x --count 3").unwrap().total(), Some(3));
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        for line in [
            "trigger --rate 0",
            "trigger --rate 5/m",
            "trigger --count 0",
            "trigger --file x --event message_open",
            "trigger --file x --project 1",
            "trigger --clean --multi-stage",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        assert_eq!(parse("trigger --rate 50/s").unwrap().rate, NonZeroU32::new(50));
    }
}
