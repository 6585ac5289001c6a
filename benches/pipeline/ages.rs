//! How long after the broker's acknowledgement requests came in at the sink.

use std::collections::HashMap;

use crate::sink::Arrival;

/// Milliseconds, sorted.
#[derive(Clone, Debug)]
pub struct Ages(Vec<f64>);

impl Ages {
    /// Of each event whose number `counts`; a request that came before its acknowledgement was seen has age 0.
    pub fn of(
        acknowledged: &[(u64, u64)],
        arrivals: &[Arrival],
        counts: impl Fn(u64) -> bool,
    ) -> Self {
        let at: HashMap<u64, u64> = acknowledged.iter().copied().collect();
        let mut ages: Vec<f64> = arrivals
            .iter()
            .filter(|arrival| counts(arrival.number))
            .filter_map(|arrival| Some((arrival.at, *at.get(&arrival.number)?)))
            .map(|(arrived, acknowledged)| {
                crate::deliver::as_f64(arrived.saturating_sub(acknowledged)) / 1000.0
            })
            .collect();
        ages.sort_by(f64::total_cmp);
        Self(ages)
    }

    pub fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// The age that so many of a thousand do not exceed; 0 where there is none.
    pub fn per_mille(&self, share: usize) -> f64 {
        let place = (self.0.len() * share / 1000).min(self.0.len().saturating_sub(1));
        self.0.get(place).copied().unwrap_or(0.0)
    }
}
