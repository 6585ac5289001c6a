//! The filters of lists of attempts and dead letters, as they stand in an address, a form or a body.
//!
//! Reads texts into questions to the read models. What is empty asks for nothing, because a form sends every field.

use std::num::NonZeroU32;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::attempts::AttemptQuery;
use super::dead_letters::{LetterQuery, Scope};
use super::place::Place;
use super::problem::Problem;
use crate::engine::connection::ConnectionKey;
use crate::engine::delivery::DeadLetterReason;

/// On a page, where nothing is said.
const DEFAULT_LIMIT: usize = 50;
/// The most that a page holds.
const MAX_LIMIT: usize = 500;
/// So many dead letters a second are put back, where nothing is said.
const DEFAULT_REDRIVE_RATE: NonZeroU32 = NonZeroU32::new(50).expect("50 is not 0");
/// The highest rate of putting back.
const MAX_REDRIVE_RATE: u32 = 10_000;

/// Which attempts of a connection.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AttemptFilter {
    /// `failed`, or a class: `delivered`, `status`, `dns`, `connect`, `tls`, `timeout`, `reset`, `protocol`, `denied`,
    /// `our_fault`, `panic`.
    pub(super) outcome: String,
    /// Begun then or later: RFC 3339, or milliseconds since the epoch.
    pub(super) from: String,
    /// Begun before then.
    pub(super) to: String,
    /// `next_cursor` of the page before.
    pub(super) cursor: String,
    /// How many on a page: 1–500; 50.
    pub(super) limit: Option<usize>,
}

impl AttemptFilter {
    /// The question that it is.
    ///
    /// # Errors
    /// 400 with what cannot be read.
    pub(super) fn query(&self, connection: ConnectionKey) -> Result<AttemptQuery, Problem> {
        let outcome = given(&self.outcome).map(str::parse).transpose();
        Ok(AttemptQuery {
            project_id: None,
            connection: Some(connection),
            outcome: outcome.map_err(|error| refused(&error))?,
            from_ms: time("from", &self.from)?,
            to_ms: time("to", &self.to)?,
            cursor: cursor(&self.cursor)?,
            limit: limit(self.limit)?,
        })
    }
}

/// Which dead letters of a project.
#[derive(Clone, Debug, Default, Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LetterFilter {
    /// Of this connection alone.
    pub(super) connection: String,
    /// Given up for this reason, such as `exhausted`.
    pub(super) reason: String,
    /// Given up then or later: RFC 3339, or milliseconds since the epoch.
    pub(super) from: String,
    /// Given up before then.
    pub(super) to: String,
    /// `next_cursor` of the page before.
    pub(super) cursor: String,
    /// How many on a page: 1–500; 50.
    pub(super) limit: Option<usize>,
}

impl LetterFilter {
    /// The question that it is.
    ///
    /// # Errors
    /// 400 with what cannot be read.
    pub(super) fn query(&self, project: &str) -> Result<LetterQuery, Problem> {
        let key = |id| {
            ConnectionKey::parse(&format!("{project}/{id}"))
                .ok_or_else(|| Problem::bad_request("connection: this can be no connection's id"))
        };
        Ok(LetterQuery {
            scope: Scope::Project(project.to_owned()),
            connection: given(&self.connection).map(key).transpose()?,
            reason: given(&self.reason).map(reason).transpose()?,
            from_ms: time("from", &self.from)?,
            to_ms: time("to", &self.to)?,
            cursor: cursor(&self.cursor)?,
            limit: limit(self.limit)?,
        })
    }
}

/// Which records that are no events.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RejectedFilter {
    /// Rejected then or later: RFC 3339, or milliseconds since the epoch.
    pub(super) from: String,
    /// Rejected before then.
    pub(super) to: String,
    /// `next_cursor` of the page before.
    pub(super) cursor: String,
    /// How many on a page: 1–500; 50.
    pub(super) limit: Option<usize>,
}

impl RejectedFilter {
    /// The question that it is.
    ///
    /// # Errors
    /// 400 with what cannot be read.
    pub(super) fn query(&self) -> Result<LetterQuery, Problem> {
        Ok(LetterQuery {
            scope: Scope::Rejected,
            connection: None,
            reason: None,
            from_ms: time("from", &self.from)?,
            to_ms: time("to", &self.to)?,
            cursor: cursor(&self.cursor)?,
            limit: limit(self.limit)?,
        })
    }
}

/// How many dead letters a second are put back.
///
/// # Errors
/// 400 outside of 1–10000.
pub(super) fn redrive_rate(asked: Option<u32>) -> Result<NonZeroU32, Problem> {
    let Some(asked) = asked else { return Ok(DEFAULT_REDRIVE_RATE) };
    let rate = NonZeroU32::new(asked).filter(|rate| rate.get() <= MAX_REDRIVE_RATE);
    let refused = || format!("the rate must be from 1 to {MAX_REDRIVE_RATE} a second");
    rate.ok_or_else(|| Problem::bad_request(refused()))
}

/// The place that an id in a path names.
///
/// # Errors
/// 404: nothing has such an id.
pub(super) fn place(text: &str) -> Result<Place, Problem> {
    text.parse().map_err(|error: super::place::BadPlace| Problem::not_found(error.to_string()))
}

/// A reason that there is: a slip would look as if nothing had been given up for it.
fn reason(text: &str) -> Result<String, Problem> {
    let all = DeadLetterReason::ALL.map(DeadLetterReason::as_str);
    let refused = || Problem::bad_request(format!("reason: write one of {}", all.join(", ")));
    all.contains(&text).then(|| text.to_owned()).ok_or_else(refused)
}

fn given(text: &str) -> Option<&str> {
    Some(text.trim()).filter(|text| !text.is_empty())
}

fn refused(error: &dyn std::error::Error) -> Problem {
    Problem::bad_request(error.to_string())
}

fn cursor(text: &str) -> Result<Option<Place>, Problem> {
    let unknown = |_| Problem::bad_request("the cursor is none; begin without one");
    given(text).map(str::parse).transpose().map_err(unknown)
}

fn limit(limit: Option<usize>) -> Result<usize, Problem> {
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    let is_allowed = (1..=MAX_LIMIT).contains(&limit);
    let refused = || Problem::bad_request(format!("limit must be from 1 to {MAX_LIMIT}"));
    is_allowed.then_some(limit).ok_or_else(refused)
}

/// A time in milliseconds since the epoch; without an offset it is UTC.
fn time(name: &str, text: &str) -> Result<Option<u64>, Problem> {
    let Some(text) = given(text) else { return Ok(None) };
    if let Ok(at_ms) = text.parse() {
        return Ok(Some(at_ms));
    }
    let in_utc = |_| TimeZone::UTC.to_timestamp(text.parse::<DateTime>()?);
    let at = text.parse::<Timestamp>().or_else(in_utc);
    let at_ms = at.ok().and_then(|at| u64::try_from(at.as_millisecond()).ok());
    let wanted = "RFC 3339 such as 2026-01-31T12:00:00Z, or milliseconds since the epoch";
    at_ms.map(Some).ok_or_else(|| Problem::bad_request(format!("{name}: write a time as {wanted}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_in_each_way_that_people_and_programs_write_it() {
        let wanted = Some(1_760_090_590_000);
        for text in [
            "1760090590000",
            "2025-10-10T10:03:10Z",
            "2025-10-10T12:03:10+02:00",
            " 2025-10-10T10:03:10 ",
        ] {
            assert_eq!(time("from", text).unwrap(), wanted, "{text}");
        }
        assert_eq!(time("to", " ").unwrap(), None);
        for text in ["yesterday", "1969-01-01T00:00:00Z", "-5"] {
            let problem = time("to", text).unwrap_err();
            assert!(problem.detail().starts_with("to: write a time"), "{text}");
        }
    }

    #[test]
    fn a_filter_keeps_to_its_project_and_names_what_is_wrong() {
        let filter = LetterFilter { connection: "whc_1".into(), ..LetterFilter::default() };
        let query = filter.query("4172").unwrap();
        assert!(matches!(query.scope, Scope::Project(project) if project == "4172"));
        assert_eq!((query.connection.unwrap().as_str(), query.limit), ("4172/whc_1", 50));
        let bad = [
            LetterFilter { limit: Some(501), ..LetterFilter::default() },
            LetterFilter { cursor: "x".into(), ..LetterFilter::default() },
            LetterFilter { connection: "a/b".into(), ..LetterFilter::default() },
            LetterFilter { reason: "exausted".into(), ..LetterFilter::default() },
        ];
        for filter in bad {
            assert_eq!(filter.query("4172").unwrap_err().status(), 400, "{filter:?}");
        }
    }
}
