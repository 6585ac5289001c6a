//! Why a delivery was given up, in words.

/// Every reason as the topic has it, and how it is called.
pub(super) const REASONS: [(&str, &str); 10] = [
    ("exhausted", "All attempts failed"),
    ("rejected", "Refused by the endpoint"),
    ("gone", "Endpoint gone"),
    ("expired", "Too old"),
    ("egress_denied", "Address refused"),
    ("connection_inactive", "Connection inactive"),
    ("connection_unreadable", "Connection unreadable"),
    ("malformed_event", "No valid event"),
    ("too_large", "Event too large"),
    ("panic", "Fault on our side"),
];

/// A reason in words; one that is unknown here as it is.
pub(super) fn reason_in_words(reason: &str) -> &str {
    REASONS.iter().find(|(name, _)| *name == reason).map_or(reason, |(_, words)| words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::delivery::DeadLetterReason;

    #[test]
    fn every_reason_has_words() {
        let names: Vec<_> = DeadLetterReason::ALL.map(DeadLetterReason::as_str).to_vec();
        assert_eq!(REASONS.map(|(name, _)| name).to_vec(), names);
        assert_eq!(reason_in_words("exhausted"), "All attempts failed");
        assert_eq!(reason_in_words("of_tomorrow"), "of_tomorrow");
    }
}
