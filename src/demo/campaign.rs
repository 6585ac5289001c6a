//! Sample campaign events, by the load model: what a campaign engine would write for its recipients.
//!
//! A [`Campaign`] is an endless iterator; the same [`Script`] gives the same events. Each [`CampaignEvent`] says what
//! it means, and [`Expectation`] counts how many of them a connection must be sent, by the letter of the contract and
//! without the engine's help. Nothing here knows Kafka or the clock. Used by `barnabas trigger`, the demo and tests.

use std::collections::VecDeque;

use bytes::Bytes;

use self::dice::Dice;
use self::recipient::Recipient;
use self::record::{EventRecord, malform};

mod dice;
mod recipient;
mod record;

/// What can happen to a push message, with its share of the recipients, rarest last: who clicks has opened.
const PUSH_MIX: [(&str, f64); 4] = [
    ("message_delivery", 0.55),
    ("message_open", 0.04),
    ("message_click", 0.01),
    ("message_unsubscribe", 0.001),
];

/// How many pushes fail.
const PUSH_FAILURES: f64 = 0.05;

/// The same for an email.
const EMAIL_MIX: [(&str, f64); 4] = [
    ("message_delivery", 0.985),
    ("message_open", 0.45),
    ("message_click", 0.03),
    ("message_unsubscribe", 0.0025),
];

/// How many emails fail.
const EMAIL_FAILURES: f64 = 0.010;

/// What a campaign is to consist of.
#[derive(Clone, Debug)]
pub struct Script {
    /// Recipients are spread evenly over these; an empty list stands for the one project `4172`.
    pub projects: Vec<String>,
    /// Only this event, once for each recipient; `None` for the mix of the load model.
    pub event: Option<String>,
    /// Only this channel; `None` for pushes and emails.
    pub channel: Option<String>,
    /// What is not as it should be.
    pub oddities: Oddities,
    /// The `time` of the iterator's events, in UNIX seconds.
    pub time: u64,
    /// Where the dice start.
    pub seed: u64,
}

impl Default for Script {
    /// The load model's mix for one project, at the time of the contract's example.
    fn default() -> Self {
        Self {
            projects: Vec::new(),
            event: None,
            channel: None,
            oddities: Oddities::LOAD_MODEL,
            time: 1_760_090_581,
            seed: 1,
        }
    }
}

/// The shares of the events that are not as they should be, from 0.0 to 1.0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Oddities {
    /// Written a second time, the same to the byte.
    pub duplicates: f64,
    /// Not an event at all.
    pub malformed: f64,
    /// With an event or channel name that no catalog has.
    pub unknown: f64,
    /// Of a journey, which is counted and not delivered.
    pub multi_stage: f64,
}

impl Oddities {
    /// Every event is a good one and comes once.
    pub const NONE: Self = Self { duplicates: 0.0, malformed: 0.0, unknown: 0.0, multi_stage: 0.0 };

    /// As in the load model, without journeys.
    pub const LOAD_MODEL: Self =
        Self { duplicates: 0.001, malformed: 0.0001, unknown: 0.0001, multi_stage: 0.0 };

    /// As in the load model, journeys included.
    pub const WITH_JOURNEYS: Self = Self { multi_stage: 0.1, ..Self::LOAD_MODEL };
}

/// One record for the events topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CampaignEvent {
    /// The record's key: `<project_id>:<profile_id>`.
    pub key: String,
    /// The record's value.
    pub value: Bytes,
    /// What the service must make of it.
    pub meaning: Meaning,
}

impl CampaignEvent {
    /// Whether a connection with this interest must be sent the event.
    #[must_use]
    pub fn matches(&self, interest: &Interest) -> bool {
        match &self.meaning {
            Meaning::Deliverable { project, event, channel } => {
                *project == interest.project
                    && interest.events.contains(event)
                    && interest.channels.contains(channel)
            }
            Meaning::MultiStage | Meaning::UnknownName | Meaning::Malformed => false,
        }
    }
}

/// What the service must make of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Whoever is interested gets it.
    Deliverable {
        /// Whose it is.
        project: String,
        /// The catalog's name of what happened.
        event: String,
        /// The catalog's name of the channel.
        channel: String,
    },
    /// Of a journey: counted, not delivered.
    MultiStage,
    /// Nobody can have asked for it: skipped and counted.
    UnknownName,
    /// A dead letter.
    Malformed,
}

/// What a connection wants: its filter, as a user would say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interest {
    /// The project it belongs to.
    pub project: String,
    /// Its event names.
    pub events: Vec<String>,
    /// Its channel names.
    pub channels: Vec<String>,
}

/// How many events each of some connections must be sent.
#[derive(Clone, Debug)]
pub struct Expectation {
    interests: Vec<Interest>,
    matched: Vec<u64>,
}

impl Expectation {
    /// Of connections with these interests.
    #[must_use]
    pub fn new(interests: Vec<Interest>) -> Self {
        let matched = vec![0; interests.len()];
        Self { interests, matched }
    }

    /// Counts an event that was written.
    pub fn count(&mut self, event: &CampaignEvent) {
        for (interest, matched) in self.interests.iter().zip(&mut self.matched) {
            *matched += u64::from(event.matches(interest));
        }
    }

    /// The counts, in the order of the interests.
    #[must_use]
    pub fn matched(&self) -> &[u64] {
        &self.matched
    }
}

/// The events of one campaign after another, without end.
#[derive(Debug)]
pub struct Campaign {
    script: Script,
    dice: Dice,
    /// What is still to be told of recipients that have been drawn.
    pending: VecDeque<Step>,
}

impl Campaign {
    /// Begins to play a script.
    #[must_use]
    pub fn new(mut script: Script) -> Self {
        if script.projects.is_empty() {
            script.projects.push("4172".to_owned());
        }
        let dice = Dice::new(script.seed);
        Self { script, dice, pending: VecDeque::new() }
    }

    /// The next event, happening at `time` (UNIX seconds).
    pub fn event_at(&mut self, time: u64) -> CampaignEvent {
        loop {
            match self.pending.pop_front() {
                Some(Step::Happen { recipient, event }) => {
                    return self.tell(&recipient, &event, time);
                }
                Some(Step::Repeat(event)) => return event,
                None => self.draw_recipient(),
            }
        }
    }

    /// Decides once what happens to one more recipient: the message is sent, and by a single throw either fails or
    /// gets so far, so that each share is met and nobody opens what was not delivered.
    fn draw_recipient(&mut self) {
        let recipient = Recipient::draw(&self.script, &mut self.dice);
        if let Some(event) = self.script.event.clone() {
            self.pending.push_back(Step::Happen { recipient, event });
            return;
        }
        let (mix, failures) = match &*recipient.channel {
            "email" => (EMAIL_MIX, EMAIL_FAILURES),
            _ => (PUSH_MIX, PUSH_FAILURES),
        };
        let luck = self.dice.unit();
        let reached = mix.iter().filter(|(_, share)| luck < *share).map(|(event, _)| *event);
        let failed = (luck >= 1.0 - failures).then_some("message_failure");
        for event in std::iter::once("message_send").chain(reached).chain(failed) {
            let recipient = recipient.clone();
            self.pending.push_back(Step::Happen { recipient, event: event.to_owned() });
        }
    }

    /// Writes one event down, with what may be odd about it.
    fn tell(&mut self, recipient: &Recipient, event: &str, time: u64) -> CampaignEvent {
        let odd = self.script.oddities;
        let mut record = EventRecord::new(recipient, event, time, &mut self.dice);
        let mut meaning = Meaning::Deliverable {
            project: recipient.project.clone(),
            event: event.to_owned(),
            channel: recipient.channel.clone(),
        };
        if self.dice.happens(odd.multi_stage) {
            record.campaign_stage = Some("multi");
            meaning = Meaning::MultiStage;
        } else if self.dice.happens(odd.unknown) {
            match self.dice.below(2) {
                0 => record.event = "message_teleport",
                _ => record.properties.message_type = "carrier_pigeon",
            }
            meaning = Meaning::UnknownName;
        }
        let mut value = record.to_json();
        if self.dice.happens(odd.malformed) {
            value = malform(value, self.dice.below(4));
            meaning = Meaning::Malformed;
        }
        let key = format!("{}:{}", recipient.project, recipient.profile_id);
        let told = CampaignEvent { key, value: value.into(), meaning };
        if self.dice.happens(odd.duplicates) {
            self.pending.push_front(Step::Repeat(told.clone()));
        }
        told
    }
}

impl Iterator for Campaign {
    type Item = CampaignEvent;

    fn next(&mut self) -> Option<CampaignEvent> {
        Some(self.event_at(self.script.time))
    }
}

/// One of the things to be told next.
#[derive(Debug)]
enum Step {
    Happen { recipient: Recipient, event: String },
    Repeat(CampaignEvent),
}

#[cfg(test)]
mod tests;
