//! What is known of one pair, in the order in which it was seen: for whoever looks for a fault's cause.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::observation::{Observation, Pair, Place};

/// The story of a pair; times are UNIX milliseconds.
pub fn tell(log: &[Observation], wanted: Pair) -> String {
    let mut text = format!("{wanted:?}\n");
    let mut open = BTreeMap::new();
    for observation in log {
        let line = match observation {
            Observation::Event { place, event, at } if *event == wanted.event => {
                open.insert(*place, ());
                format!("{at} written to {}", show(*place))
            }
            Observation::Waiting { place, pair, at, is_draining } if *pair == wanted => {
                open.insert(*place, ());
                let why = if *is_draining { "draining" } else { "waiting" };
                format!("{at} {why} in {}", show(*place))
            }
            Observation::Receipt { pair, at } if *pair == wanted => format!("{at} received"),
            Observation::DeadLetter { pair, at } if *pair == wanted => format!("{at} dead letter"),
            Observation::Killed { from, .. } => format!("{from} (an instance is killed)"),
            Observation::Disturbed { from, until } => format!("{from}-{until} (disturbed)"),
            Observation::Commit { partition, offset, metadata, at } => {
                let inherited = barnabas::engine::offsets::encoding::decode(metadata, *offset)
                    .unwrap_or_default();
                let is_settled = |place: &Place| {
                    place.partition == *partition
                        && (place.offset < *offset
                            || (place.offset < inherited.until
                                && !inherited.open.contains(&place.offset)))
                };
                let settled: Vec<Place> =
                    open.keys().copied().filter(|place| is_settled(place)).collect();
                open.retain(|place, ()| !is_settled(place));
                let Some(place) = settled.first() else { continue };
                format!("{at} {} is committed as settled", show(*place))
            }
            _ => continue,
        };
        let _ = writeln!(text, "    {line}");
    }
    text
}

fn show(place: Place) -> String {
    format!("{}[{}] at {}", place.partition.topic, place.partition.number, place.offset)
}
