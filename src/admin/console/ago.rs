//! How long something is ago, as people say it.

use crate::engine::time::Timestamp;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// The time from `then`, in UNIX seconds, until now.
pub(super) fn ago(then: u64, now: Timestamp) -> String {
    let passed = now.as_secs().saturating_sub(then);
    match passed {
        0..MINUTE => "just now".to_owned(),
        MINUTE..HOUR => format!("{} min ago", passed / MINUTE),
        HOUR..DAY => format!("{} h ago", passed / HOUR),
        DAY.. if passed / DAY == 1 => "1 day ago".to_owned(),
        DAY.. => format!("{} days ago", passed / DAY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_said_in_its_largest_unit() {
        let now = Timestamp::from_secs(1_760_000_000);
        let say = |passed| ago(now.as_secs() - passed, now);
        assert_eq!([say(0), say(59)], ["just now", "just now"]);
        assert_eq!([say(60), say(3599)], ["1 min ago", "59 min ago"]);
        assert_eq!([say(3600), say(86_399)], ["1 h ago", "23 h ago"]);
        assert_eq!([say(86_400), say(172_800)], ["1 day ago", "2 days ago"]);
        assert_eq!(ago(now.as_secs() + 5, now), "just now", "another clock is ahead");
    }
}
