//! The pipeline as a whole.

use askama::Template;
use axum::extract::{Extension, State};
use axum::response::Response;

use super::insight::{Who, time};
use super::page::{Frame, answer, render};
use crate::admin::api::Admin;
use crate::admin::pipeline::{PipelineReport, STEPS, ThroughputPoint};
use crate::admin::tokens::EVERY_PROJECT;

#[derive(Template)]
#[template(path = "pipeline.html")]
struct PipelinePage {
    frame: Frame,
    report: PipelineReport,
    /// The last step.
    now: Option<ThroughputPoint>,
    /// Deliveries a second over the last hour: place, top and height of each bar.
    bars: Vec<(usize, String, String)>,
    may_see_rejected: bool,
}

impl PipelinePage {
    fn due(at_ms: &u64) -> String {
        time(*at_ms)
    }
}

pub(super) async fn show(State(admin): State<Admin>, Extension(caller): Who) -> Response {
    let page = async {
        let report = admin.models()?.pipeline.report().await;
        let frame = Frame::of(&caller, None, "pipeline");
        let bars = bars(&report.throughput);
        Ok(render(&PipelinePage {
            frame,
            now: report.throughput.last().copied(),
            bars,
            may_see_rejected: caller.token.covers(EVERY_PROJECT),
            report,
        }))
    };
    answer(&caller, page.await)
}

/// The newest stands at the right, under "now", also while the hour is not full.
fn bars(points: &[ThroughputPoint]) -> Vec<(usize, String, String)> {
    let points = &points[points.len().saturating_sub(STEPS)..];
    let most = points.iter().map(|point| point.delivered_per_second).fold(0.1, f64::max);
    let bar = |(place, point): (usize, &ThroughputPoint)| {
        let height = point.delivered_per_second / most * 30.0;
        let place = STEPS - points.len() + place;
        (place, format!("{:.2}", 30.0 - height), format!("{height:.2}"))
    };
    points.iter().enumerate().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(delivered_per_second: f64) -> ThroughputPoint {
        ThroughputPoint {
            at_ms: 0,
            events_per_second: 0.0,
            delivered_per_second,
            retried_per_second: 0.0,
            parked_per_second: 0.0,
            dead_lettered_per_second: 0.0,
        }
    }

    #[test]
    fn the_newest_bar_stands_at_the_right_however_many_there_are() {
        let few = bars(&[point(1.0), point(2.0)]);
        assert_eq!(few[0], (358, "15.00".to_owned(), "15.00".to_owned()));
        assert_eq!(few[1], (359, "0.00".to_owned(), "30.00".to_owned()));
        let many = bars(&vec![point(1.0); STEPS + 1]);
        assert_eq!((many.len(), many[0].0, many[STEPS - 1].0), (STEPS, 0, 359));
        assert!(bars(&[]).is_empty());
    }
}
