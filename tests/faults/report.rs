//! The verdict, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::judge::{Account, Class};

#[derive(Debug)]
pub struct Report {
    pub seed: u64,
    pub minutes: f64,
    pub account: Account,
    pub rebalances: u64,
    /// How often members lost partitions, or gave them up without a last commit.
    pub losses: u64,
    /// How often librdkafka crashed an instance, see `fleet`.
    pub crashes: u64,
    pub dead_letters: u64,
    pub retries: u64,
    pub faults: Vec<(&'static str, u64)>,
    /// How often an instance has ended itself at each of the named points.
    pub points: BTreeMap<&'static str, u64>,
    pub plants: Vec<(&'static str, Option<bool>)>,
    /// Of pairs that the judge complains of.
    pub stories: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    Fail,
    Inconclusive,
}

impl Verdict {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Inconclusive => "inconclusive",
        }
    }
}

impl Report {
    pub fn verdict(&self) -> Verdict {
        if !self.account.faults().is_empty() || !self.missed_plants().is_empty() {
            return Verdict::Fail;
        }
        if self.toothless().is_empty() { Verdict::Pass } else { Verdict::Inconclusive }
    }

    /// What the run did not show, so that its passing says little.
    fn toothless(&self) -> Vec<&'static str> {
        let bites = [
            ("no kill with work in flight", self.account.kills_with_work),
            ("no duplicate", self.account.duplicates),
            ("no retry", self.retries),
            ("no dead letter", self.dead_letters),
            ("no rebalance", self.rebalances),
        ];
        let mut toothless: Vec<_> =
            bites.into_iter().filter(|(_, count)| *count == 0).map(|(what, _)| what).collect();
        if self.plants.iter().any(|(_, found)| found.is_none()) {
            toothless.push("no occasion to plant every fault");
        }
        toothless
    }

    fn missed_plants(&self) -> Vec<&'static str> {
        let missed = self.plants.iter().filter(|(_, found)| *found == Some(false));
        missed.map(|(name, _)| *name).collect()
    }

    pub fn json(&self) -> Value {
        let account = &self.account;
        let class = |class| account.classes.get(&class).copied().unwrap_or(0);
        json!({
            "verdict": self.verdict().as_str(), "seed": self.seed, "minutes": self.minutes,
            "events": account.events, "pairs": account.pairs,
            "delivered": class(Class::Delivered), "dead_lettered": class(Class::DeadLettered),
            "waiting": class(Class::Waiting), "unread": class(Class::Unread),
            "excused": class(Class::Excused),
            "lost": account.lost(), "phantom": account.phantoms,
            "duplicates": account.duplicates, "duplicates_bound": account.duplicates_bound,
            "bound_of_kills": account.bound_of_kills,
            "unexplained_duplicates": account.unexplained, "torn_exchanges": account.torn, "cut_off": account.cut_off,
            "commits": account.commits, "unsafe_commits": account.unsafe_commits,
            "kills": account.kills, "kills_with_work": account.kills_with_work,
            "rebalances": self.rebalances, "losses": self.losses, "librdkafka_crashes": self.crashes, "dead_letters": self.dead_letters,
            "retries": self.retries,
            "faults": self.faults.iter().map(|(name, times)| ((*name).to_owned(), json!(times))).collect::<serde_json::Map<_, _>>(),
            "points": self.points,
            "plants": self.plants.iter().map(|(name, found)| ((*name).to_owned(), json!(found))).collect::<serde_json::Map<_, _>>(),
            "complaints": account.faults(),
        })
    }

    /// The table for people.
    pub fn table(&self) -> String {
        let account = &self.account;
        let class = |class| account.classes.get(&class).copied().unwrap_or(0);
        let mut text = String::new();
        let mut row = |name: &str, value: &dyn std::fmt::Display| {
            let _ = writeln!(text, "{name:<58} {value:>12}");
        };
        row("seed", &self.seed);
        row("events", &account.events);
        row("pairs of an event and a connection", &account.pairs);
        row("  D delivered", &class(Class::Delivered));
        row("  X dead letter", &class(Class::DeadLettered));
        row("  R waiting in a tier", &class(Class::Waiting));
        row("  U not read yet", &class(Class::Unread));
        row("  S excused: connection changed, or record deleted", &class(Class::Excused));
        row("  lost", &account.lost());
        row("phantoms", &account.phantoms);
        row("commits observed", &account.commits);
        row("  not safe", &account.unsafe_commits);
        row("duplicates", &account.duplicates);
        row("  bound: in flight or settled since the last commit", &account.duplicates_bound);
        row("    of it for kills", &account.bound_of_kills);
        row("  that no kill, disturbance or torn line explains", &account.unexplained);
        row("  cut off when their partition had to go", &account.cut_off);
        row("kills -9", &account.kills);
        row("  with work in flight", &account.kills_with_work);
        row("  ended by librdkafka: crashed (its issue 5280), fenced", &self.crashes);
        row("rebalances", &self.rebalances);
        row("  partitions lost, or given up without a last commit", &self.losses);
        row("records in tiers", &self.retries);
        row("dead letters", &self.dead_letters);
        for (name, times) in &self.faults {
            row(&format!("fault {name}"), times);
        }
        for (name, times) in &self.points {
            row(&format!("  ended itself at {name}"), times);
        }
        for (name, found) in &self.plants {
            let found = found.map_or("no occasion", |found| if found { "found" } else { "MISSED" });
            row(&format!("planted: {name}"), &found);
        }
        row("verdict", &self.verdict().as_str());
        let _ = writeln!(text, "  other rows of the table of faults: tests/faults/README.md");
        for fault in account.faults().iter().chain(&account.complaints).chain(&self.stories) {
            let _ = writeln!(text, "  ! {fault}");
        }
        for what in self.toothless() {
            let _ = writeln!(text, "  ? {what}");
        }
        text
    }
}
