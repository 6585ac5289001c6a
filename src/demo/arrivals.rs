//! What has arrived, by the receiver's own word: the engine's counters are not asked.
//!
//! Takes the receipts that the receiver hands over and counts the events that were answered 2xx, each once, and apart
//! from them those that came again. The demo takes in at every tick.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use http::StatusCode;
use tokio::sync::mpsc;

use super::cast::CAST;
use super::receiver::Receipt;

/// Receipts that may wait for a tick; when it is full the receiver's answers wait.
const RECEIPTS: usize = 4096;

/// The receiver's books, as the demo keeps them.
#[derive(Debug)]
pub(super) struct Arrivals {
    receipts: mpsc::Receiver<Receipt>,
    /// In the order of the cast.
    endpoints: Vec<Endpoint>,
    /// Requests answered 2xx that no role's endpoint has got.
    pub(super) strays: u64,
}

/// What one endpoint has got.
#[derive(Clone, Debug, Default)]
struct Endpoint {
    /// A digest of each event's id: 16 bytes for each, so that an hour of the demo takes some 20 MB.
    ids: HashSet<u64>,
    duplicates: u64,
}

impl Arrivals {
    /// The channel's other end is for the receiver.
    pub(super) fn channel() -> (mpsc::Sender<Receipt>, Self) {
        let (sender, receipts) = mpsc::channel(RECEIPTS);
        (sender, Self { receipts, endpoints: vec![Endpoint::default(); CAST.len()], strays: 0 })
    }

    /// Takes in what has come, without waiting.
    pub(super) fn take_in(&mut self) {
        while let Ok(receipt) = self.receipts.try_recv() {
            if receipt.status.as_ref().is_some_and(StatusCode::is_success) {
                self.count(&receipt);
            }
        }
    }

    /// Events that the role in this place has been delivered, each counted once.
    pub(super) fn delivered(&self, place: usize) -> u64 {
        self.endpoints[place].ids.len() as u64
    }

    /// Deliveries of events that it had already.
    pub(super) fn duplicates(&self, place: usize) -> u64 {
        self.endpoints[place].duplicates
    }

    fn count(&mut self, receipt: &Receipt) {
        let place = CAST.iter().position(|role| receipt.path.strip_prefix('/') == Some(role.id));
        let (Some(place), Some(id)) = (place, &receipt.webhook_id) else {
            self.strays += 1;
            return;
        };
        let endpoint = &mut self.endpoints[place];
        if !endpoint.ids.insert(digest(id)) {
            endpoint.duplicates += 1;
        }
    }
}

fn digest(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn receipt(path: &str, id: &str, status: StatusCode) -> Receipt {
        Receipt {
            path: path.to_owned(),
            query: None,
            at: SystemTime::UNIX_EPOCH,
            authorization: None,
            webhook_id: Some(id.to_owned()),
            webhook_timestamp: None,
            webhook_attempt: None,
            traceparent: None,
            content_type: None,
            user_agent: None,
            body: "{}".into(),
            admitted: true,
            status: Some(status),
        }
    }

    #[test]
    fn only_first_successes_count_and_others_are_told_apart() {
        let (receiver, mut arrivals) = Arrivals::channel();
        for (path, id, status) in [
            ("/crm", "a", StatusCode::OK),
            ("/crm", "a", StatusCode::OK),
            ("/crm", "b", StatusCode::SERVICE_UNAVAILABLE),
            ("/crm", "b", StatusCode::OK),
            ("/analytics", "a", StatusCode::OK),
            ("/nobody", "a", StatusCode::OK),
        ] {
            receiver.try_send(receipt(path, id, status)).unwrap();
        }
        arrivals.take_in();
        assert_eq!((arrivals.delivered(0), arrivals.duplicates(0)), (2, 1));
        assert_eq!((arrivals.delivered(1), arrivals.strays), (1, 1));
    }
}
