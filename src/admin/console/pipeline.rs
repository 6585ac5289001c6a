//! The pipeline as a whole.

use askama::Template;
use axum::extract::{Extension, State};
use axum::response::Response;

use super::insight::{Who, time};
use super::page::{Frame, answer, render};
use crate::admin::api::Admin;
use crate::admin::pipeline::{PipelineReport, ThroughputPoint};

#[derive(Template)]
#[template(path = "pipeline.html")]
struct PipelinePage {
    frame: Frame,
    report: PipelineReport,
    /// The last step.
    now: Option<ThroughputPoint>,
    /// Deliveries a second over the last hour: place, top and height of each bar.
    bars: Vec<(usize, String, String)>,
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
        Ok(render(&PipelinePage { frame, now: report.throughput.last().copied(), bars, report }))
    };
    answer(&caller, page.await)
}

fn bars(points: &[ThroughputPoint]) -> Vec<(usize, String, String)> {
    let most = points.iter().map(|point| point.delivered_per_second).fold(0.1, f64::max);
    let bar = |(place, point): (usize, &ThroughputPoint)| {
        let height = point.delivered_per_second / most * 30.0;
        (place, format!("{:.2}", 30.0 - height), format!("{height:.2}"))
    };
    points.iter().enumerate().map(bar).collect()
}
