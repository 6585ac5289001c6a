//! Dead letters as lines of JSON, one each, for tools.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::rounds::read_chosen;
use super::{DeadLetters, Letter, LetterQuery};
use crate::admin::place::Place;
use crate::kafka::log::{LogError, LogRecord, Reader};

/// Lines that wait for whoever takes them; then the reading waits.
const LINES: usize = 64;

impl DeadLetters {
    /// Reads everything that a query is about (of all its pages) and sends each as a line of JSON, in the order of the
    /// topic. It ends with the last one, with an error, or when nobody takes them any more.
    ///
    /// # Panics
    /// Outside of a runtime.
    #[must_use]
    pub fn export(&self, query: &LetterQuery) -> mpsc::Receiver<Result<Bytes, LogError>> {
        let wanted: BTreeSet<Place> =
            self.index().matching(query).map(|letter| letter.id).collect();
        let (lines, taken) = mpsc::channel(LINES);
        let (config, topic) = (self.parts.reader.clone(), Arc::clone(&self.parts.topic));
        tokio::task::spawn_blocking(move || {
            let send = |record: LogRecord| lines.blocking_send(Ok(line(&record))).is_ok();
            let read = Reader::open(&config, &topic)
                .and_then(|reader| read_chosen(&reader, &wanted, send));
            if let Err(error) = read {
                let _ = lines.blocking_send(Err(error));
            }
        });
        taken
    }
}

fn line(record: &LogRecord) -> Bytes {
    // Texts and numbers only: there is nothing that serde could refuse.
    let mut line = serde_json::to_vec(&Letter::of(record)).unwrap_or_default();
    line.push(b'\n');
    Bytes::from(line)
}
