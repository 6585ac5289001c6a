//! Sends a test event of a connection and shows what was sent and what came of it.

use askama::Template;
use axum::Form;
use axum::extract::{Extension, Path, State};
use axum::response::Response;
use serde::Deserialize;

use super::attempts::in_words;
use super::connection_head::{ConnectionHead, find, key};
use super::insight::Who;
use super::page::{Frame, answer, render};
use crate::admin::access::Caller;
use crate::admin::api::Admin;
use crate::admin::problem::Problem;
use crate::admin::test_send::{TestQuery, TestReport};
use crate::engine::catalog::Names;

#[derive(Template)]
#[template(path = "test_event.html")]
struct TestPage {
    frame: Frame,
    head: ConnectionHead,
    /// Names with labels.
    events: Vec<(String, String)>,
    channels: Vec<(String, String)>,
    asked: Asked,
    result: Option<Sent>,
}

struct Sent {
    report: TestReport,
    outcome: &'static str,
    tone: &'static str,
}

/// What the form asks for.
#[derive(Default, Deserialize)]
pub(super) struct Asked {
    event: String,
    channel: String,
}

pub(super) async fn show(
    State(admin): State<Admin>,
    Extension(caller): Who,
    Path((project, id)): Path<(String, String)>,
) -> Response {
    answer(&caller, page(&admin, &caller, (&project, &id), Asked::default(), None))
}

pub(super) async fn send(
    State(admin): State<Admin>,
    Extension(caller): Who,
    Path((project, id)): Path<(String, String)>,
    Form(asked): Form<Asked>,
) -> Response {
    let sent = async {
        let connection = key(&project, &id)?;
        let (event, channel) = (asked.event.clone(), asked.channel.clone());
        let query = TestQuery { connection, event, channel };
        let report = admin.models()?.test_sends.send(&query).await?;
        page(&admin, &caller, (&project, &id), asked, Some(report))
    };
    answer(&caller, sent.await)
}

fn page(
    admin: &Admin,
    caller: &Caller,
    (project, id): (&str, &str),
    asked: Asked,
    report: Option<TestReport>,
) -> Result<Response, Problem> {
    let view = find(admin, caller, &key(project, id)?)?;
    let catalog = admin.connections().catalog();
    let sent = |report: TestReport| {
        let (outcome, tone) = in_words(report.outcome);
        Sent { report, outcome, tone }
    };
    Ok(render(&TestPage {
        frame: Frame::of(caller, Some(project), "configured"),
        head: ConnectionHead::of(caller, &view, "test"),
        events: labels(&catalog.events),
        channels: labels(&catalog.channels),
        asked,
        result: report.map(sent),
    }))
}

fn labels(names: &Names) -> Vec<(String, String)> {
    names.iter().map(|name| (name.name.to_string(), name.label.to_string())).collect()
}
