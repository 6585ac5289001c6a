//! A redrive: counted, confirmed, and watched until it is done or stopped.

use askama::Template;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use tracing::info;
use url::form_urlencoded;

use super::dead_letters::path_of;
use super::insight::Who;
use super::page::{Frame, answer, render};
use crate::admin::access::Caller;
use crate::admin::api::Admin;
use crate::admin::dead_letters::{
    BeginError, RedriveOrder, RedriveReport, RedriveState, Refusal, Selection, UnderWay,
};
use crate::admin::filters::{LetterFilter, redrive_rate};
use crate::admin::place::BadPlace;
use crate::admin::problem::Problem;

#[derive(Template)]
#[template(path = "redrive_count.html")]
struct CountPage {
    frame: Frame,
    path: String,
    report: RedriveReport,
    refused: Vec<(&'static str, u64)>,
    /// The form's fields again, to be confirmed.
    fields: Vec<(String, String)>,
    rate: u32,
}

#[derive(Template)]
#[template(path = "redrive.html")]
struct RedrivePage {
    frame: Frame,
    path: String,
    here: String,
    redrive: UnderWay,
    refused: Vec<(&'static str, u64)>,
}

/// Counts first; begins when the count was confirmed.
pub(super) async fn put_back(
    State(admin): State<Admin>,
    Extension(caller): Who,
    Path(project): Path<String>,
    body: String,
) -> Response {
    let fields: Vec<(String, String)> = form_urlencoded::parse(body.as_bytes())
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    let page = if text(&fields, "confirmed").is_empty() {
        count(&admin, &caller, &project, fields)
    } else {
        begin(&admin, &caller, &project, &fields).await
    };
    answer(&caller, page)
}

fn count(
    admin: &Admin,
    caller: &Caller,
    project: &str,
    fields: Vec<(String, String)>,
) -> Result<Response, Problem> {
    let order = order(project, &fields)?;
    let report = admin.models()?.dead_letters.dry_run(&order);
    Ok(render(&CountPage {
        frame: Frame::of(caller, Some(project), "dead-letters"),
        path: path_of(project),
        refused: in_words(&report),
        report,
        fields: fields.into_iter().filter(|(name, _)| name != "rate").collect(),
        rate: order.rate_per_second.get(),
    }))
}

async fn begin(
    admin: &Admin,
    caller: &Caller,
    project: &str,
    fields: &[(String, String)],
) -> Result<Response, Problem> {
    let order = order(project, fields)?;
    let letters = &admin.models()?.dead_letters;
    let author = caller.token.author();
    admin.connections().note_redrive(&author, &order, &letters.dry_run(&order)).await?;
    info!(who = author, project, "dead letters are redriven");
    let id = letters.begin(order).map_err(|fault| match fault {
        BeginError::UnderWay => under_way(&fault),
        BeginError::NoId(_) => Problem::unavailable(fault.to_string()),
    })?;
    Ok(Redirect::to(&path_of_one(project, &id)).into_response())
}

/// How far it is. The page looks again until it is over.
pub(super) async fn show(
    State(admin): State<Admin>,
    Extension(caller): Who,
    Path((project, id)): Path<(String, String)>,
) -> Response {
    let page = || {
        let redrive = admin.models()?.dead_letters.under_way(&project, &id).ok_or_else(unknown)?;
        Ok(render(&RedrivePage {
            frame: Frame::of(&caller, Some(&project), "dead-letters"),
            path: path_of(&project),
            here: path_of_one(&project, &id),
            refused: in_words(&redrive.report),
            redrive,
        }))
    };
    answer(&caller, page())
}

/// Stops it, and goes back to what it has done.
pub(super) async fn stop(
    State(admin): State<Admin>,
    Extension(caller): Who,
    Path((project, id)): Path<(String, String)>,
) -> Response {
    let page = || {
        if !admin.models()?.dead_letters.stop(&project, &id) {
            return Err(unknown());
        }
        info!(who = caller.token.author(), project, "a redrive is stopped");
        Ok(Redirect::to(&path_of_one(&project, &id)).into_response())
    };
    answer(&caller, page())
}

fn under_way(fault: &BeginError) -> Problem {
    let title = "There is a redrive already";
    Problem::new(StatusCode::CONFLICT, "redrive-under-way", title, fault.to_string())
}

fn unknown() -> Problem {
    Problem::not_found(
        "this redrive is not known here any more; the dead letters show what was put back",
    )
}

fn path_of_one(project: &str, id: &str) -> String {
    format!("{}/redrives/{id}", path_of(project))
}

fn text<'a>(fields: &'a [(String, String)], wanted: &str) -> &'a str {
    fields.iter().find(|(name, _)| name == wanted).map_or("", |(_, value)| value)
}

fn order(project: &str, fields: &[(String, String)]) -> Result<RedriveOrder, Problem> {
    let own = |name| text(fields, name).to_owned();
    let selection = if text(fields, "which") == "matching" {
        let filter = LetterFilter {
            connection: own("connection"),
            reason: own("reason"),
            from: own("from"),
            to: own("to"),
            ..LetterFilter::default()
        };
        Selection::Matching(filter.query(project)?)
    } else {
        let ids = fields.iter().filter(|(name, _)| name == "id").map(|(_, id)| id.parse());
        let ids: Result<Vec<_>, BadPlace> = ids.collect();
        Selection::Ids(ids.map_err(|bad| Problem::bad_request(bad.to_string()))?)
    };
    let asked = text(fields, "rate").trim();
    let number = asked.parse().map_err(|_| Problem::bad_request("the rate is a whole number"));
    let rate_per_second = redrive_rate(if asked.is_empty() { None } else { Some(number?) })?;
    Ok(RedriveOrder {
        project_id: Some(project.to_owned()),
        selection,
        rate_per_second,
        again: false,
    })
}

fn in_words(report: &RedriveReport) -> Vec<(&'static str, u64)> {
    report.refused.iter().map(|(&refusal, &count)| (why(refusal), count)).collect()
}

const fn why(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::NotFound => "there is none of that id any more",
        Refusal::NoConnection => "a record that is no event",
        Refusal::ConnectionDeleted => "its connection was deleted",
        Refusal::ConnectionInactive => "its connection is inactive: activate it first",
        Refusal::ConnectionUnreadable => "its connection cannot be read: mend it first",
        Refusal::Expired => "older than its connection wants",
        Refusal::AlreadyRedriven => "put back before",
        Refusal::NoEvent => "its value is no event any more",
    }
}
