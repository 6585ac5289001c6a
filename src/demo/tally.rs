//! The sums of a run and whether they agree.
//!
//! Pure: the numbers come from four witnesses that know nothing of each other (the campaign, the receiver, the
//! dead-letter topic and the tiers), and this says what does not fit. The view shows an [`Account`] while it runs, the
//! command prints the [`Summary`].

use std::collections::BTreeMap;

use serde::Serialize;

/// What became of one connection's events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Account {
    /// The connection's key.
    pub connection: String,
    /// Its name.
    pub name: String,
    /// How its endpoint behaves.
    pub endpoint: String,
    /// Events that it must be sent, by the campaign's own count.
    pub matched: u64,
    /// Of these, the ones that its endpoint has answered 2xx, by the receiver's count.
    pub delivered: u64,
    /// Deliveries beyond the first of an event, by the receiver's count.
    pub duplicates: u64,
    /// Failed attempts that were put into a tier, read there.
    pub retried: u64,
    /// Puts into a tier without an attempt, read there.
    pub parked: u64,
    /// What was given up, read in the dead-letter topic.
    pub dead_lettered: DeadLetters,
    /// What nobody wanted any more, by the engine's count: it leaves no other trace.
    pub dropped: u64,
    /// What is still to come: while it runs the rest, in the summary what was found in the tiers.
    pub waiting: u64,
}

/// Dead letters by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeadLetters {
    /// All of them.
    pub total: u64,
    /// The parts.
    pub by_reason: BTreeMap<String, u64>,
}

impl DeadLetters {
    /// Counts one.
    pub(super) fn count(&mut self, reason: &str) {
        self.total += 1;
        *self.by_reason.entry(reason.to_owned()).or_default() += 1;
    }
}

/// What the campaign has written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Written {
    /// Records, those below among them.
    pub events: u64,
    /// Not an event at all.
    pub malformed: u64,
    /// With a name that the catalog does not have.
    pub unknown: u64,
    /// Of a journey.
    pub journeys: u64,
}

/// What is left when all is over.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Where the campaign's dice started.
    pub seed: u64,
    /// How long the campaign ran, in seconds.
    pub campaign_seconds: f64,
    /// How long everything took, in seconds.
    pub took_seconds: f64,
    /// What the campaign has written.
    pub written: Written,
    /// Dead letters of no connection: what was not an event.
    pub dead_letters_without_connection: DeadLetters,
    /// Requests answered 2xx that were for nobody.
    pub strays: u64,
    /// For each connection.
    pub connections: Vec<Account>,
}

impl Account {
    /// What has an end that is known.
    #[must_use]
    pub const fn settled(&self) -> u64 {
        self.delivered + self.dead_lettered.total + self.dropped
    }

    /// What is not settled, as far as the account knows.
    #[must_use]
    pub const fn rest(&self) -> u64 {
        self.matched.saturating_sub(self.settled())
    }

    fn disagreement(&self) -> Option<String> {
        let found = self.settled() + self.waiting;
        (found != self.matched).then(|| {
            format!(
                "{}: {} events matched, but {} delivered + {} dead-lettered + {} dropped + {} waiting = {found}",
                self.name,
                self.matched,
                self.delivered,
                self.dead_lettered.total,
                self.dropped,
                self.waiting,
            )
        })
    }
}

impl Summary {
    /// What does not fit, a line each; empty if everything does.
    #[must_use]
    pub fn disagreements(&self) -> Vec<String> {
        let mut lines: Vec<_> = self.connections.iter().filter_map(Account::disagreement).collect();
        let (malformed, found) = (self.written.malformed, &self.dead_letters_without_connection);
        if found.total != malformed {
            lines.push(format!(
                "malformed: {malformed} were written, but {} dead letters are of no connection",
                found.total
            ));
        }
        if self.strays > 0 {
            lines.push(format!("{} deliveries were for no connection", self.strays));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(matched: u64, delivered: u64, dead: u64, waiting: u64) -> Account {
        let mut dead_lettered = DeadLetters::default();
        (0..dead).for_each(|_| dead_lettered.count("exhausted"));
        let name = "CRM sync".to_owned();
        Account { name, matched, delivered, dead_lettered, waiting, ..Account::default() }
    }

    fn summary(connections: Vec<Account>) -> Summary {
        Summary { connections, ..Summary::default() }
    }

    #[test]
    fn what_is_delivered_dead_or_waiting_agrees() {
        let connections = vec![account(10, 10, 0, 0), account(10, 0, 10, 0), account(10, 5, 3, 2)];
        assert_eq!(summary(connections).disagreements(), Vec::<String>::new());
    }

    #[test]
    fn what_is_lost_or_counted_twice_is_told_by_name() {
        let lost = summary(vec![account(10, 8, 1, 0)]).disagreements();
        let told = "CRM sync: 10 events matched, but 8 delivered + 1 dead-lettered + 0 dropped + 0 waiting = 9";
        assert_eq!(lost, [told]);
        assert_eq!(summary(vec![account(10, 10, 1, 0)]).disagreements().len(), 1);
    }

    #[test]
    fn a_malformed_event_must_be_found_again() {
        let mut summary = summary(Vec::new());
        summary.written.malformed = 2;
        summary.dead_letters_without_connection.count("malformed_event");
        assert_eq!(summary.disagreements().len(), 1);
        summary.dead_letters_without_connection.count("malformed_event");
        assert_eq!(summary.disagreements(), Vec::<String>::new());
    }

    #[test]
    fn a_delivery_to_nobody_is_told() {
        let strays = Summary { strays: 1, ..Summary::default() };
        assert_eq!(strays.disagreements(), ["1 deliveries were for no connection"]);
    }

    #[test]
    fn the_rest_is_never_negative() {
        assert_eq!(account(10, 7, 1, 0).rest(), 2);
        assert_eq!(account(10, 11, 0, 0).rest(), 0);
    }
}
