//! Reads chosen dead letters out of their topic, with few questions to the broker.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use super::PATIENCE;
use crate::admin::place::Place;
use crate::kafka::log::{LogError, LogRecord, Reader, Span};

/// Dead letters less than this apart are read in one go, over those between them.
const GAP: i64 = 500;

/// Reads what was chosen and hands it to `take`, which answers whether it wants more.
pub(super) fn read_chosen(
    reader: &Reader,
    chosen: &BTreeSet<Place>,
    mut take: impl FnMut(LogRecord) -> bool,
) -> Result<(), LogError> {
    let mut is_wanted = true;
    for round in rounds(chosen) {
        reader.read(&round, PATIENCE, |record| {
            let at_ms = record.timestamp.as_millis();
            let id = Place { at_ms, partition: record.partition, offset: record.offset };
            is_wanted = !chosen.contains(&id) || take(record);
            if is_wanted { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        if !is_wanted {
            break;
        }
    }
    Ok(())
}

/// How chosen places are read: in rounds with at most one run of each partition.
fn rounds(chosen: &BTreeSet<Place>) -> Vec<Vec<Span>> {
    let mut offsets: BTreeMap<i32, BTreeSet<i64>> = BTreeMap::new();
    for place in chosen {
        offsets.entry(place.partition).or_default().insert(place.offset);
    }
    let mut rounds: Vec<Vec<Span>> = Vec::new();
    for (partition, offsets) in offsets {
        let mut runs: Vec<Span> = Vec::new();
        for offset in offsets {
            match runs.last_mut() {
                Some(run) if offset - run.to < GAP => run.to = offset + 1,
                Some(_) | None => runs.push(Span { partition, from: offset, to: offset + 1 }),
            }
        }
        for (number, run) in runs.into_iter().enumerate() {
            if rounds.len() == number {
                rounds.push(Vec::new());
            }
            rounds[number].push(run);
        }
    }
    rounds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_close_is_read_in_one_go_and_each_round_has_a_partition_once() {
        let chosen = [(0, 1), (0, 400), (0, 5000), (1, 7), (0, 9000)];
        let place = |(partition, offset)| Place { at_ms: 1, partition, offset };
        let rounds = rounds(&chosen.into_iter().map(place).collect());
        let span = |partition, from, to| Span { partition, from, to };
        let wanted = [
            vec![span(0, 1, 401), span(1, 7, 8)],
            vec![span(0, 5000, 5001)],
            vec![span(0, 9000, 9001)],
        ];
        assert_eq!(rounds, wanted);
    }
}
