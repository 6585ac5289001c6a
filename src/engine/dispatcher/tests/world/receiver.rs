//! A scripted receiver: how the endpoint of one connection behaves, and what it answers to an attempt.

use std::time::Duration;

use crate::engine::dispatcher::dice::Dice;
use crate::engine::outcome::{AttemptResult, Fault};

/// How an endpoint behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Healthy,
    Slow,
    Hanging,
    Flaky,
    Broken,
    Rejecting,
    Throttling,
    Pausing,
    PausingLong,
    Unreachable,
    Resetting,
    GoneAfter(u32),
    Denied,
    OurFaults,
    Panicking,
}

impl Manner {
    const ALL: [Self; 15] = [
        Self::Healthy,
        Self::Slow,
        Self::Hanging,
        Self::Flaky,
        Self::Broken,
        Self::Rejecting,
        Self::Throttling,
        Self::Pausing,
        Self::PausingLong,
        Self::Unreachable,
        Self::Resetting,
        Self::GoneAfter(3),
        Self::Denied,
        Self::OurFaults,
        Self::Panicking,
    ];

    /// Every third receiver is healthy.
    pub(super) fn throw(dice: &mut Dice) -> Self {
        if dice.throw() < 0.3 {
            return Self::Healthy;
        }
        Self::ALL[(dice.throw() * 15.0) as usize]
    }
}

/// One endpoint.
#[derive(Debug)]
pub(super) struct Receiver {
    manner: Manner,
    seen: u32,
}

impl Receiver {
    pub(super) const fn new(manner: Manner) -> Self {
        Self { manner, seen: 0 }
    }

    /// What comes of an attempt, and after how long.
    pub(super) fn answer(
        &mut self,
        timeout: Duration,
        dice: &mut Dice,
    ) -> (Duration, AttemptResult) {
        self.seen += 1;
        let quick = Duration::from_millis(5 + (dice.throw() * 100.0) as u64);
        let luck = dice.throw();
        let result = match self.manner {
            Manner::Healthy => status(200),
            Manner::Slow => return (timeout.mul_f64(0.1 + 0.6 * luck), status(202)),
            Manner::Hanging => return (timeout, failed(Fault::Timeout)),
            Manner::Flaky if luck < 0.5 => status(502),
            Manner::Flaky => status(200),
            Manner::Broken => status(500),
            Manner::Rejecting => status(400),
            Manner::Throttling if luck < 0.4 => status(429),
            Manner::Throttling => status(204),
            Manner::Pausing if luck < 0.3 => paused("3"),
            Manner::Pausing => status(200),
            Manner::PausingLong if luck < 0.2 => paused("40"),
            Manner::PausingLong => status(200),
            Manner::Unreachable => failed(Fault::Connect),
            Manner::Resetting if luck < 0.4 => failed(Fault::Reset),
            Manner::Resetting => status(200),
            Manner::GoneAfter(answers) if self.seen > answers => status(410),
            Manner::GoneAfter(_) => status(200),
            Manner::Denied if luck < 0.6 => AttemptResult::Denied,
            Manner::Denied => status(200),
            Manner::OurFaults if luck < 0.5 => AttemptResult::OurFault,
            Manner::OurFaults => status(200),
            Manner::Panicking if luck < 0.1 => AttemptResult::Panicked,
            Manner::Panicking => status(200),
        };
        (quick, result)
    }
}

const fn status(status: u16) -> AttemptResult {
    AttemptResult::Answered { status, retry_after: None }
}

fn paused(secs: &str) -> AttemptResult {
    AttemptResult::Answered { status: 429, retry_after: Some(secs.to_owned()) }
}

const fn failed(fault: Fault) -> AttemptResult {
    AttemptResult::Failed { fault, answer_begun: false }
}
