//! What a benchmark has measured: each figure once a run.

use std::collections::BTreeMap;

/// What a figure should be.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

/// The figures of one benchmark.
#[derive(Debug)]
pub struct Figures {
    /// Its key in the JSON.
    pub key: &'static str,
    /// In the order in which they are shown. A dot in a name is a level in the JSON.
    order: Vec<String>,
    values: BTreeMap<String, Vec<f64>>,
    goals: BTreeMap<String, Goal>,
    /// What could not be measured, and why.
    pub missing: BTreeMap<String, &'static str>,
}

/// One figure over all runs.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    pub median: f64,
    pub min: f64,
    pub max: f64,
    pub runs: usize,
}

impl Figures {
    pub fn new(key: &'static str) -> Self {
        Self {
            key,
            order: Vec::new(),
            values: BTreeMap::new(),
            goals: BTreeMap::new(),
            missing: BTreeMap::new(),
        }
    }

    /// Adds what one run has shown.
    pub fn add(&mut self, name: &str, value: f64) {
        if !self.values.contains_key(name) {
            self.order.push(name.to_owned());
        }
        self.values.entry(name.to_owned()).or_default().push(value);
    }

    /// A figure that cannot be had here.
    pub fn miss(&mut self, name: &str, why: &'static str) {
        self.missing.insert(name.to_owned(), why);
    }

    pub fn goal(&mut self, name: &str, goal: Goal) {
        self.goals.insert(name.to_owned(), goal);
    }

    pub fn summaries(&self) -> impl Iterator<Item = (&str, Summary, Option<Goal>)> {
        self.order.iter().map(|name| {
            (name.as_str(), Summary::of(&self.values[name]), self.goals.get(name).copied())
        })
    }
}

impl Goal {
    pub fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }
}

impl Summary {
    fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        Self {
            median: median(&sorted),
            min: sorted[0],
            max: sorted[sorted.len() - 1],
            runs: sorted.len(),
        }
    }
}

fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    }
}
