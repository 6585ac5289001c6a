//! How an endpoint of the receiver behaves, and what that means for one request.
//!
//! Decides only: the same behaviour and the same number of a request give the same [`Plan`]. Nothing is sent and
//! nothing waits here; `exchange` acts on the plan.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use http::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

/// Multiples of this (2^32 divided by the golden ratio) spread evenly over the 32-bit numbers, so that a flaky
/// endpoint fails its share in every stretch of requests, without dice and without a visible pattern.
const GOLDEN_STEP: u32 = 0x9E37_79B9;

/// What an endpoint does with its requests.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Behaviour {
    /// Answers 200 at once.
    #[default]
    Healthy,
    /// Answers after a while.
    Slow {
        /// From the end of the request to the answer.
        latency: Duration,
        /// The status, as in [`Self::Status`].
        code: StatusCode,
    },
    /// Fails some of the requests, with 500 and 503 by turns, and answers 200 to the others.
    Flaky {
        /// How many of them fail, from 0.0 to 1.0.
        share: f64,
    },
    /// Answers the same to everything.
    Status {
        /// The status; anything below 200 cannot be an answer and is sent as 500.
        code: StatusCode,
        /// The `Retry-After` header, as it is.
        retry_after: Option<HeaderValue>,
    },
    /// Reads the request and never answers.
    Hang,
    /// Reads the request and resets the connection.
    Reset,
}

impl Behaviour {
    /// Answers `code` to everything, without further headers.
    #[must_use]
    pub const fn status(code: StatusCode) -> Self {
        Self::Status { code, retry_after: None }
    }

    /// Answers 200 after `latency`.
    #[must_use]
    pub const fn slow(latency: Duration) -> Self {
        Self::Slow { latency, code: StatusCode::OK }
    }

    /// What to do with the request that has this number (from 0) at its endpoint.
    pub(super) fn plan(&self, number: u64) -> Plan {
        match self {
            Self::Healthy => Plan::Now(Reply::of(StatusCode::OK)),
            Self::Slow { latency, code } => Plan::After(*latency, Reply::of(final_status(*code))),
            Self::Flaky { share } if fails(number, *share) => {
                let codes = [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::SERVICE_UNAVAILABLE];
                Plan::Now(Reply::of(codes[usize::from(number % 2 == 1)]))
            }
            Self::Flaky { .. } => Plan::Now(Reply::of(StatusCode::OK)),
            Self::Status { code, retry_after } => {
                let (status, retry_after) = (final_status(*code), retry_after.clone());
                Plan::Now(Reply { status, retry_after, challenge: None })
            }
            Self::Hang => Plan::Never,
            Self::Reset => Plan::Reset,
        }
    }
}

/// Whom an endpoint lets in. Whatever its behaviour, a request without them is answered 401 at once.
#[derive(Clone, Debug, Default)]
pub enum Credentials {
    /// Everybody, with any `Authorization` or none.
    #[default]
    Anyone,
    /// RFC 7617.
    Basic {
        /// Without a colon.
        username: String,
        /// Any text.
        password: SecretString,
    },
    /// RFC 6750.
    Bearer {
        /// Visible ASCII.
        token: SecretString,
    },
}

impl Credentials {
    /// A user and a password.
    #[must_use]
    pub fn basic(username: &str, password: &str) -> Self {
        Self::Basic { username: username.to_owned(), password: password.into() }
    }

    /// A token.
    #[must_use]
    pub fn bearer(token: &str) -> Self {
        Self::Bearer { token: token.into() }
    }

    /// The one `Authorization` that passes; `None` where every request does.
    pub(super) fn lock(&self) -> Option<Lock> {
        match self {
            Self::Anyone => None,
            Self::Basic { username, password } => {
                let pair = STANDARD.encode(format!("{username}:{}", password.expose_secret()));
                Some(Lock { key: format!("Basic {pair}").into(), scheme: "Basic" })
            }
            Self::Bearer { token } => Some(Lock {
                key: format!("Bearer {}", token.expose_secret()).into(),
                scheme: "Bearer",
            }),
        }
    }
}

/// The check of one endpoint's credentials.
pub(super) struct Lock {
    key: SecretString,
    /// For the challenge of RFC 9110 §11.6.1.
    scheme: &'static str,
}

impl Lock {
    /// What to answer to somebody with this `Authorization`; `None` lets the request in.
    pub(super) fn refusal(&self, authorization: Option<&str>) -> Option<Reply> {
        if authorization == Some(self.key.expose_secret()) {
            return None;
        }
        let challenge = Some(self.scheme);
        Some(Reply { status: StatusCode::UNAUTHORIZED, retry_after: None, challenge })
    }
}

/// What happens to one request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// It is answered at once.
    Now(Reply),
    /// It is answered after a while.
    After(Duration, Reply),
    /// It stays open until the client leaves.
    Never,
    /// Its connection is reset.
    Reset,
}

/// An answer, as far as answers differ.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<HeaderValue>,
    /// The scheme of the `WWW-Authenticate` of a 401.
    pub(super) challenge: Option<&'static str>,
}

impl Reply {
    pub(super) const fn of(status: StatusCode) -> Self {
        Self { status, retry_after: None, challenge: None }
    }
}

/// An informational status is no answer, and hyper would not send it as one.
fn final_status(code: StatusCode) -> StatusCode {
    if code.is_informational() { StatusCode::INTERNAL_SERVER_ERROR } else { code }
}

/// Whether a flaky endpoint fails this request.
fn fails(number: u64, share: f64) -> bool {
    let low = u32::try_from(number & u64::from(u32::MAX)).unwrap_or(u32::MAX);
    f64::from(low.wrapping_mul(GOLDEN_STEP)) < share * f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failures(share: f64, requests: u64) -> u64 {
        let flaky = Behaviour::Flaky { share };
        let failed = |number: &u64| match flaky.plan(*number) {
            Plan::Now(reply) => reply.status.is_server_error(),
            Plan::After(..) | Plan::Never | Plan::Reset => false,
        };
        (0..requests).filter(failed).count() as u64
    }

    #[test]
    fn a_flaky_endpoint_fails_its_share_in_every_stretch() {
        assert_eq!(failures(0.0, 1000), 0);
        assert!((290..=310).contains(&failures(0.3, 1000)));
        assert!((27..=33).contains(&failures(0.3, 100)));
        assert!(failures(1.0, 1000) >= 999);
    }

    #[test]
    fn a_flaky_endpoint_fails_in_both_ways() {
        let flaky = Behaviour::Flaky { share: 1.0 };
        assert_eq!(flaky.plan(2), Plan::Now(Reply::of(StatusCode::INTERNAL_SERVER_ERROR)));
        assert_eq!(flaky.plan(3), Plan::Now(Reply::of(StatusCode::SERVICE_UNAVAILABLE)));
    }

    #[test]
    fn an_informational_status_is_never_an_answer() {
        let plan = Behaviour::status(StatusCode::CONTINUE).plan(0);
        assert_eq!(plan, Plan::Now(Reply::of(StatusCode::INTERNAL_SERVER_ERROR)));
    }

    #[test]
    fn only_the_right_credentials_pass() {
        let basic = Credentials::basic("xp", "s3:cret").lock().unwrap();
        assert_eq!(basic.refusal(Some("Basic eHA6czM6Y3JldA==")), None);
        let bearer = Credentials::bearer("abc").lock().unwrap();
        assert_eq!(bearer.refusal(Some("Bearer abc")), None);
        for wrong in [None, Some(""), Some("Bearer abcd"), Some("Basic eHA6eA=="), Some("abc")] {
            let status = bearer.refusal(wrong).map(|reply| reply.status);
            assert_eq!(status, Some(StatusCode::UNAUTHORIZED), "{wrong:?}");
        }
        assert!(Credentials::Anyone.lock().is_none());
    }

    #[test]
    fn credentials_do_not_show_in_debug_output() {
        let shown =
            format!("{:?} {:?}", Credentials::basic("xp", "s3cret"), Credentials::bearer("t0k"));
        assert!(!shown.contains("s3cret") && !shown.contains("t0k"), "{shown}");
    }
}
