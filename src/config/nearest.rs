//! The key that somebody probably meant.
//!
//! Compares words; knows no key. [`super::known`] asks for unknown keys.

/// The known key nearest to a misspelt one, if one is near enough to be meant.
pub(super) fn nearest<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    let (slips, near) = known.iter().map(|known| (distance(key, known), *known)).min()?;
    // One slip in every five letters still looks like the word that was meant.
    if slips <= (key.len() / 5).max(2) {
        return Some(near);
    }
    // The right name in the wrong section is meant as well.
    known.iter().copied().find(|known| leaf(known) == leaf(key))
}

fn leaf(key: &str) -> &str {
    key.rsplit_once('.').map_or(key, |(_, leaf)| leaf)
}

/// How many letters must be put in, left out or changed (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (above, letter) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (column, other) in to.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 3] = ["delivery.burst", "delivery.rate_per_second", "telemetry.listen"];

    #[test]
    fn distances_count_slips() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
    }

    #[test]
    fn a_slip_and_a_wrong_section_are_seen() {
        let near = |key| nearest(key, &KNOWN);
        assert_eq!(near("delivery.burts"), Some("delivery.burst"));
        assert_eq!(near("deliver.rate_per_seconds"), Some("delivery.rate_per_second"));
        assert_eq!(near("limits.rate_per_second"), Some("delivery.rate_per_second"));
        assert_eq!(near("something.else"), None);
    }
}
