//! Where a record of a log stands, as people and clients name it, and pages of what stands there.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

/// The most that one page holds.
const LARGEST_PAGE: usize = 500;

/// A record's place, ordered by time: an id that every instance understands, also after a restart, and a cursor.
/// Written `<milliseconds>-<partition>-<offset>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// When, in milliseconds since the epoch.
    pub at_ms: u64,
    /// The partition's number.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// A text that names no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no id: write one as it was given, such as 1760090590750-3-1042")]
pub struct BadPlace(String);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.at_ms, self.partition, self.offset)
    }
}

impl FromStr for Place {
    type Err = BadPlace;

    fn from_str(text: &str) -> Result<Self, BadPlace> {
        let parse = || {
            let (at_ms, rest) = text.split_once('-')?;
            let (partition, offset) = rest.split_once('-')?;
            let place = Self {
                at_ms: at_ms.parse().ok()?,
                partition: partition.parse().ok()?,
                offset: offset.parse().ok()?,
            };
            (place.partition >= 0 && place.offset >= 0).then_some(place)
        };
        parse().ok_or_else(|| BadPlace(text.chars().take(64).collect()))
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Some of a list, the newest first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next page begins; null on the last one.
    #[schema(value_type = Option<String>)]
    pub next_cursor: Option<Place>,
}

impl<T> Page<T> {
    /// The first `limit` (1–500) of what there is, and where the rest begins.
    pub(super) fn of(found: impl Iterator<Item = (Place, T)>, limit: usize) -> Self {
        let limit = limit.clamp(1, LARGEST_PAGE);
        let mut items = Vec::new();
        let mut last = None;
        for (place, item) in found {
            if items.len() == limit {
                return Self { items, next_cursor: last };
            }
            last = Some(place);
            items.push(item);
        }
        Self { items, next_cursor: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_back_and_nothing_else_is_one() {
        let place = Place { at_ms: 1_760_090_590_750, partition: 3, offset: 1042 };
        assert_eq!(place.to_string(), "1760090590750-3-1042");
        assert_eq!("1760090590750-3-1042".parse(), Ok(place));
        for text in ["", "1-2", "1-2-x", "1--2-3", "1-2--3", "1-2-3-4"] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }

    #[test]
    fn pages_follow_each_other_without_a_gap() {
        let place = |offset| Place { at_ms: 7, partition: 0, offset };
        let all: Vec<_> = (0..5).rev().map(|offset| (place(offset), offset)).collect();
        let first = Page::of(all.iter().copied(), 2);
        assert_eq!((first.items, first.next_cursor), (vec![4, 3], Some(place(3))));
        let last = Page::of(all.iter().copied().filter(|(place, _)| place.offset < 1), 2);
        assert_eq!((last.items, last.next_cursor), (vec![0], None));
    }
}
