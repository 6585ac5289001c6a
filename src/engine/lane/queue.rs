//! The deliveries of a lane that are not under way: those that wait for their first attempt, and those whose first
//! attempt is to be repeated from memory.

use std::collections::VecDeque;

use crate::engine::delivery::Delivery;
use crate::engine::time::Timestamp;

/// A lane's queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Not yet attempted in this life, first come first served.
    fresh: VecDeque<Delivery>,
    /// Attempted once without a byte of an answer; each is tried again at its time, which rises.
    repeats: VecDeque<(Timestamp, Delivery)>,
}

impl Queue {
    pub(super) fn push(&mut self, delivery: Delivery) {
        self.fresh.push_back(delivery);
    }

    pub(super) fn push_repeat(&mut self, delivery: Delivery, at: Timestamp) {
        self.repeats.push_back((at, delivery));
    }

    /// Whose turn it is: a repeat whose time has come, else the first to come.
    pub(super) fn head(&self, now: Timestamp) -> Option<&Delivery> {
        match self.repeats.front() {
            Some((at, delivery)) if *at <= now => Some(delivery),
            Some(_) | None => self.fresh.front(),
        }
    }

    /// Takes the head out.
    pub(super) fn pop(&mut self, now: Timestamp) -> Option<Delivery> {
        let repeat = self.repeats.pop_front_if(|(at, _)| *at <= now).map(|(_, delivery)| delivery);
        repeat.or_else(|| self.fresh.pop_front())
    }

    /// When the next repeat's time comes.
    pub(super) fn next_repeat(&self) -> Option<Timestamp> {
        self.repeats.front().map(|&(at, _)| at)
    }

    /// Takes everything out that `of` picks, in order.
    pub(super) fn drain(&mut self, of: impl Fn(&Delivery) -> bool) -> Vec<Delivery> {
        let (drained, fresh): (Vec<_>, Vec<_>) = self.fresh.drain(..).partition(&of);
        let (repeats, others): (Vec<_>, Vec<_>) =
            self.repeats.drain(..).partition(|(_, delivery)| of(delivery));
        self.fresh = fresh.into();
        self.repeats = others.into();
        drained.into_iter().chain(repeats.into_iter().map(|(_, delivery)| delivery)).collect()
    }

    /// When the oldest event at its two heads was recorded; those behind them came later.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        let repeat = self.repeats.front().map(|(_, delivery)| delivery);
        let heads = [self.fresh.front(), repeat].into_iter().flatten();
        heads.map(|delivery| delivery.event.record.origin.timestamp).min()
    }

    /// How many wait for their first attempt.
    pub(super) fn fresh(&self) -> usize {
        self.fresh.len()
    }

    /// How many there are in all.
    pub(super) fn len(&self) -> usize {
        self.fresh.len() + self.repeats.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.repeats.is_empty()
    }
}
