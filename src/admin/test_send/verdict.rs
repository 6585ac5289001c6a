//! What an attempt's result means for a delivery, in words that a marketer understands.

use crate::engine::outcome::{AttemptResult, Fault, Outcome};
use crate::engine::time::Timestamp;

/// What a result means for a delivery.
pub(super) fn verdict(result: &AttemptResult, at: Timestamp) -> String {
    let answered = |status: u16| format!("The endpoint answered {status}");
    let status = match result {
        AttemptResult::Answered { status, .. } => *status,
        AttemptResult::Failed { .. }
        | AttemptResult::Denied
        | AttemptResult::OurFault
        | AttemptResult::Panicked => 0,
    };
    match Outcome::of(result, at) {
        Outcome::Delivered => format!("Delivered: the endpoint answered {status}."),
        Outcome::Gone => {
            format!("{}: it is gone for good. A delivery would deactivate the connection.", answered(status))
        }
        Outcome::Throttled { pause: Some(pause) } => format!(
            "{} and asks to be left alone for {} s. A delivery would wait and be retried.",
            answered(status),
            pause.as_secs()
        ),
        Outcome::Throttled { pause: None } => {
            format!("{}: it asks to slow down. A delivery would be retried, at half the rate.", answered(status))
        }
        Outcome::Rejected => {
            format!("{}: it refuses this body. A delivery would be retried four times, then given up.", answered(status))
        }
        Outcome::Refused => {
            format!("{}{}. A delivery would be retried.", answered(status), hint(status))
        }
        Outcome::Unanswered { fault, .. } => {
            format!("{} A delivery would be retried.", words(fault))
        }
        Outcome::Denied => "Nothing was sent: the URL leads to an address that may not be called. A delivery would \
                            become a dead letter."
            .to_owned(),
        Outcome::OurFault => {
            "Nothing was sent: the fault is on our side. Try again in a moment.".to_owned()
        }
        Outcome::Panicked => "Nothing was sent: the service has a fault; its log says more.".to_owned(),
    }
}

const fn hint(status: u16) -> &'static str {
    match status {
        300..=399 => ": a redirect, which is never followed; enter the address that it leads to",
        401 | 403 => ": it does not accept the credentials",
        404 => ": it knows nothing at this path",
        405 => ": it takes no POST at this path",
        _ => "",
    }
}

const fn words(fault: Fault) -> &'static str {
    match fault {
        Fault::Dns => "The host's name could not be resolved.",
        Fault::Connect => "No connection to the host came about.",
        Fault::Tls => {
            "The TLS handshake failed: the certificate may be expired, self-signed or for another host."
        }
        Fault::Timeout => "The endpoint did not answer in time.",
        Fault::Reset => "The connection broke before a whole answer came.",
        Fault::Protocol => "What came back was not HTTP, or too large.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words_for(status: u16, retry_after: Option<&str>) -> String {
        let retry_after = retry_after.map(str::to_owned);
        verdict(&AttemptResult::Answered { status, retry_after }, Timestamp::from_secs(1))
    }

    #[test]
    fn a_verdict_says_what_happened_and_what_a_delivery_would_do() {
        assert_eq!(words_for(204, None), "Delivered: the endpoint answered 204.");
        assert!(words_for(401, None).contains("does not accept the credentials"));
        assert!(words_for(302, None).contains("never followed"));
        assert!(words_for(429, Some("60")).contains("left alone for 60 s"));
        assert!(words_for(410, None).contains("deactivate"));
        let fault = AttemptResult::Failed { fault: Fault::Tls, answer_begun: false };
        let tls = verdict(&fault, Timestamp::from_secs(1));
        assert!(tls.contains("certificate") && tls.ends_with("A delivery would be retried."));
    }
}
