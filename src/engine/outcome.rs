//! What an attempt met, and what that means.
//!
//! [`AttemptResult`] is what the webhook client saw on the wire; [`Outcome`] is its meaning by the table "What an
//! answer means" of the product's contract. Nothing here decides what is done next: that is [`super::retry`].

use std::time::Duration;

use super::time::Timestamp;

/// The longest that a `Retry-After` is believed; a longer one is cut to this.
pub const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// What the webhook client saw of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptResult {
    /// The endpoint sent an answer's head, and its body ended or was cut at the limit.
    Answered {
        /// The HTTP status code.
        status: u16,
        /// The `Retry-After` header as it came, if there was one that is text.
        retry_after: Option<String>,
    },
    /// No whole answer came.
    Failed {
        /// At which step it broke.
        fault: Fault,
        /// Whether any byte of an answer had come; if none, the attempt may be repeated at once.
        answer_begun: bool,
    },
    /// The egress guard refused the URL or an address of its host; nothing was sent.
    Denied,
    /// The fault is on our side (no file descriptors, no resolver): the endpoint was not tried and is not charged.
    OurFault,
    /// The code of the attempt panicked.
    Panicked,
}

/// Where an attempt broke, as far as a user may know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The host's name did not resolve.
    Dns,
    /// No TCP connection came about.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// The attempt's time was over.
    Timeout,
    /// The connection broke before a whole answer came.
    Reset,
    /// What came was not HTTP, or over a limit.
    Protocol,
}

impl Fault {
    /// Every step, for metrics.
    pub const ALL: [Self; 6] =
        [Self::Dns, Self::Connect, Self::Tls, Self::Timeout, Self::Reset, Self::Protocol];

    /// The name in headers and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Protocol => "protocol",
        }
    }
}

/// The class of an attempt's failure, as it is written into the `barnabas-error-class` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// An answer came, with a status that is not a success.
    Status,
    /// No answer came.
    Fault(Fault),
    /// The egress guard refused.
    Denied,
    /// The code of the attempt panicked.
    Panic,
}

impl ErrorClass {
    /// Every class, for parsing.
    const ALL: [Self; 9] = [
        Self::Status,
        Self::Fault(Fault::Dns),
        Self::Fault(Fault::Connect),
        Self::Fault(Fault::Tls),
        Self::Fault(Fault::Timeout),
        Self::Fault(Fault::Reset),
        Self::Fault(Fault::Protocol),
        Self::Denied,
        Self::Panic,
    ];

    /// The name in headers and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Fault(fault) => fault.as_str(),
            Self::Denied => "denied",
            Self::Panic => "panic",
        }
    }

    /// The class of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == name)
    }
}

/// What an attempt's result means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 200–299.
    Delivered,
    /// 410: the endpoint is gone for good.
    Gone,
    /// 429 or 503: the endpoint asks us to slow down.
    Throttled {
        /// How long it wants to be left alone, if it says so.
        pause: Option<Duration>,
    },
    /// 400, 413, 414, 422, 431: the endpoint refuses this body.
    Rejected,
    /// Any other status.
    Refused,
    /// No whole answer.
    Unanswered {
        /// Where it broke.
        fault: Fault,
        /// Whether a byte of an answer had come.
        answer_begun: bool,
    },
    /// The egress guard refused.
    Denied,
    /// Our own fault; nothing is charged.
    OurFault,
    /// Our code panicked.
    Panicked,
}

impl Outcome {
    /// Reads a result. `wall_clock` is needed for a `Retry-After` that is a date.
    #[must_use]
    pub fn of(result: &AttemptResult, wall_clock: Timestamp) -> Self {
        match result {
            AttemptResult::Answered { status, retry_after } => {
                Self::of_status(*status, retry_after.as_deref(), wall_clock)
            }
            AttemptResult::Failed { fault, answer_begun } => {
                Self::Unanswered { fault: *fault, answer_begun: *answer_begun }
            }
            AttemptResult::Denied => Self::Denied,
            AttemptResult::OurFault => Self::OurFault,
            AttemptResult::Panicked => Self::Panicked,
        }
    }

    fn of_status(status: u16, retry_after: Option<&str>, wall_clock: Timestamp) -> Self {
        match status {
            200..=299 => Self::Delivered,
            410 => Self::Gone,
            429 | 503 => Self::Throttled {
                pause: retry_after.and_then(|text| parse_retry_after(text, wall_clock)),
            },
            400 | 413 | 414 | 422 | 431 => Self::Rejected,
            _ => Self::Refused,
        }
    }

    /// The class to write down for a failure; `None` where there is none.
    #[must_use]
    pub const fn error_class(self) -> Option<ErrorClass> {
        match self {
            Self::Delivered | Self::OurFault => None,
            Self::Gone | Self::Throttled { .. } | Self::Rejected | Self::Refused => {
                Some(ErrorClass::Status)
            }
            Self::Unanswered { fault, .. } => Some(ErrorClass::Fault(fault)),
            Self::Denied => Some(ErrorClass::Denied),
            Self::Panicked => Some(ErrorClass::Panic),
        }
    }
}

/// Reads a `Retry-After` (RFC 9110 §10.2.3: whole seconds or an HTTP date), cut to [`MAX_RETRY_AFTER`].
///
/// What cannot be read is taken as absent; a date in the past as no wait.
#[must_use]
pub fn parse_retry_after(text: &str, wall_clock: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let secs = text.parse::<u64>().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(secs).min(MAX_RETRY_AFTER));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let since_epoch = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    let wait = (Timestamp::EPOCH + since_epoch).since(wall_clock);
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(784_111_777); // Sun, 06 Nov 1994 08:49:37 GMT

    #[test]
    fn retry_after_is_seconds_or_a_date_and_clamped() {
        let cases = [
            ("1", Some(1)),
            (" 60 ", Some(60)),
            ("1000000000000000000", Some(3600)),
            ("99999999999999999999999", Some(3600)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("Fri, 31 Dec 2100 00:00:00 GMT", Some(3600)),
            ("-1", None),
            ("NaN", None),
            ("1.5", None),
            ("", None),
        ];
        for (text, secs) in cases {
            assert_eq!(parse_retry_after(text, NOW), secs.map(Duration::from_secs), "{text:?}");
        }
    }

    #[test]
    fn statuses_mean_what_the_contract_says() {
        let of = |status| Outcome::of(&AttemptResult::Answered { status, retry_after: None }, NOW);
        for status in [200, 201, 204, 299] {
            assert_eq!(of(status), Outcome::Delivered, "{status}");
        }
        for status in [400, 413, 414, 422, 431] {
            assert_eq!(of(status), Outcome::Rejected, "{status}");
        }
        for status in [100, 300, 301, 302, 307, 308, 401, 403, 404, 409, 500, 502, 504, 599] {
            assert_eq!(of(status), Outcome::Refused, "{status}");
        }
        assert_eq!(of(410), Outcome::Gone);
        assert_eq!(of(429), Outcome::Throttled { pause: None });
        assert_eq!(of(503), Outcome::Throttled { pause: None });
    }

    #[test]
    fn every_error_class_is_read_back() {
        for class in ErrorClass::ALL {
            assert_eq!(ErrorClass::parse(class.as_str()), Some(class));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_retry_after_is_at_most_an_hour(text in "\\PC{0,40}|[0-9]{1,30}|-?[0-9.eE+]{1,12}", secs in 0_u64..1 << 33) {
            let pause = parse_retry_after(&text, Timestamp::from_secs(secs));
            proptest::prop_assert!(pause.is_none_or(|pause| pause <= MAX_RETRY_AFTER));
        }
    }
}
