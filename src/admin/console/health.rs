//! How a connection is: its success rate, its lane, and why it waits.

use askama::Template;
use axum::extract::{Extension, Path, State};
use axum::response::Response;

use super::connection_head::{ConnectionHead, find, key};
use super::insight::{Who, time};
use super::page::{Frame, answer, render};
use crate::admin::api::Admin;
use crate::admin::attempts::{Rate, Rates};
use crate::admin::health::{Health, LaneHealth};
use crate::admin::problem::Problem;

/// The height of the sparkline's drawing.
const HEIGHT: u64 = 30;

#[derive(Template)]
#[template(path = "health.html")]
struct HealthPage {
    frame: Frame,
    head: ConnectionHead,
    health: Health,
    /// Success rates of the last hour and the last day.
    rates: [String; 2],
    bars: Vec<Bar>,
    /// What the lane does, in words.
    state: String,
    waits: Option<String>,
    last_failure: Option<String>,
}

/// Ten minutes of the sparkline, with the failures below the successes.
pub(super) struct Bar {
    pub(super) x: usize,
    pub(super) good_y: u64,
    pub(super) good: u64,
    pub(super) bad_y: u64,
    pub(super) bad: u64,
}

pub(super) async fn show(
    State(admin): State<Admin>,
    Extension(caller): Who,
    Path((project, id)): Path<(String, String)>,
) -> Response {
    let page = async {
        let key = key(&project, &id)?;
        let view = find(&admin, &caller, &key)?;
        let mut healths = admin.models()?.healths.of(&[key]).await;
        let health = healths.pop().ok_or_else(|| Problem::not_found("there is none"))?;
        let rates = health.rates.as_ref();
        Ok(render(&HealthPage {
            frame: Frame::of(&caller, Some(&project), "configured"),
            head: ConnectionHead::of(&caller, &view, "health"),
            rates: [rates.map(|all| all.last_hour), rates.map(|all| all.last_day)].map(percent),
            bars: rates.map_or_else(Vec::new, day),
            state: health.lane.as_ref().map_or("", |lane| lane.state).replace('_', " "),
            waits: health.lane.as_ref().and_then(waits_in_words),
            last_failure: health.last_failure.as_ref().map(|last| time(last.line.at_ms)),
            health,
        }))
    };
    answer(&caller, page.await)
}

pub(super) fn percent(rate: Option<Rate>) -> String {
    let rate = rate.and_then(|rate| rate.success_rate);
    rate.map_or_else(|| "–".to_owned(), |rate| format!("{:.1} %", rate * 100.0))
}

/// A day's bars.
pub(super) fn day(rates: &Rates) -> Vec<Bar> {
    bars(rates.by_ten_minutes.iter().map(|point| (point.succeeded, point.failed)))
}

fn bars(points: impl Iterator<Item = (u64, u64)> + Clone) -> Vec<Bar> {
    let most = points.clone().map(|(good, bad)| good + bad).max().unwrap_or(0).max(1);
    let bar = |(x, (good, bad)): (usize, (u64, u64))| {
        // What there is of it is seen, however little.
        let [good, bad] = [good, bad].map(|count| (count * HEIGHT).div_ceil(most).min(HEIGHT));
        let good = good.min(HEIGHT - bad);
        Bar { x, good, bad, bad_y: HEIGHT - bad, good_y: HEIGHT - bad - good }
    };
    points.enumerate().map(bar).collect()
}

fn waits_in_words(lane: &LaneHealth) -> Option<String> {
    let why = match lane.waits_for? {
        "rate_limit" => "its rate limit is used up",
        "breaker_open" => {
            "the breaker is open: too many attempts failed, and one probe at a time is sent"
        }
        "retry_after" => "the endpoint has asked for a pause (Retry-After)",
        other => other,
    };
    let until = lane.waits_until_ms.map_or_else(String::new, |at| format!(", until {}", time(at)));
    Some(format!("{why}{until}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_show_even_one_failure_and_stay_within_the_drawing() {
        let bars = bars([(1000, 1), (0, 0), (500, 500)].into_iter());
        assert_eq!((bars[0].bad, bars[0].bad_y, bars[0].good_y), (1, 29, 0));
        assert_eq!((bars[1].good, bars[1].bad), (0, 0));
        assert_eq!(bars[2].good + bars[2].bad, HEIGHT);
    }
}
