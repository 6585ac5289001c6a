//! What the demo shows: a picture of the state becomes lines.
//!
//! Pure: the same picture gives the same lines, at most [`WIDTH`] characters each. Knows no terminal; `screen` paints.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::tally::{Account, DeadLetters, Summary, Written};
use crate::engine::snapshot::LaneState;

/// A terminal of 80 columns, without the last one, where some terminals break the line.
pub(super) const WIDTH: usize = 79;

/// How something is meant; the screen gives it a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// As it is.
    Plain,
    /// Headings.
    Strong,
    /// What need not be read.
    Quiet,
    /// All is well.
    Good,
    /// Not as it should be, for a while.
    Uneasy,
    /// Broken.
    Bad,
}

/// A stretch of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) text: String,
    pub(super) tone: Tone,
}

/// One line.
pub(super) type Line = Vec<Span>;

/// What goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// The service is not there yet.
    Starting,
    /// The campaign runs.
    Running,
    /// The campaign is over, and the last deliveries come to their ends; so long at most.
    Settling(Duration),
    /// The service stops.
    Stopping,
}

/// The state at one moment.
#[derive(Clone, Debug)]
pub(super) struct Picture {
    pub(super) act: Act,
    pub(super) elapsed: Duration,
    pub(super) written: Written,
    pub(super) events_per_second: u64,
    pub(super) telemetry: SocketAddr,
    pub(super) log: PathBuf,
    pub(super) rows: Vec<Row>,
}

/// One connection at one moment.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) account: Account,
    pub(super) per_second: u64,
    pub(super) state: Option<LaneState>,
}

/// The whole view, for a terminal.
pub(super) fn table(picture: &Picture) -> Vec<Line> {
    let mut lines = header(picture);
    lines.push(Vec::new());
    lines.push(vec![span(heading(), Tone::Strong)]);
    lines.extend(picture.rows.iter().map(row));
    lines.push(Vec::new());
    lines.extend(footer(picture));
    lines
}

/// A line for each connection, for a log: all while the campaign runs, then those that wait.
pub(super) fn report(picture: &Picture) -> Vec<String> {
    let lines = match picture.act {
        Act::Starting => header(picture).iter().skip(2).map(|line| text(line)).collect(),
        Act::Running => picture.rows.iter().map(report_row).collect(),
        Act::Settling(left) => settling(picture, left),
        Act::Stopping => Vec::new(),
    };
    let seconds = picture.elapsed.as_secs();
    lines.into_iter().map(|line| format!("{seconds:>3} s  {line}")).collect()
}

fn report_row(row: &Row) -> String {
    let account = &row.account;
    format!(
        "{:<9} {:<15} {} matched, {} delivered ({}/s), {} retried, {} dead, {} waiting, {}",
        account.name,
        account.endpoint,
        account.matched,
        account.delivered,
        row.per_second,
        account.retried,
        account.dead_lettered.total,
        account.waiting,
        state(row).0,
    )
}

/// A line without its tones.
pub(super) fn text(line: &[Span]) -> String {
    line.iter().map(|span| span.text.as_str()).collect()
}

/// The end, for people.
#[must_use]
pub fn summary(summary: &Summary) -> Vec<String> {
    let mut lines = vec![format!(
        "{} events in {:.0} s, {:.0} s in all.",
        summary.written.events, summary.campaign_seconds, summary.took_seconds
    )];
    lines.push(String::new());
    lines.push(summary_row([
        "NAME",
        "ENDPOINT",
        "MATCHED",
        "DELIVERED",
        "RETRIED",
        "DEAD",
        "DROPPED",
        "WAITING",
        "TWICE",
    ]));
    for account in &summary.connections {
        lines.push(summary_row([
            &account.name,
            &account.endpoint,
            &account.matched.to_string(),
            &account.delivered.to_string(),
            &account.retried.to_string(),
            &account.dead_lettered.total.to_string(),
            &account.dropped.to_string(),
            &account.waiting.to_string(),
            &account.duplicates.to_string(),
        ]));
    }
    lines.push(String::new());
    lines.extend(dead_letters(summary));
    let Written { unknown, journeys, .. } = summary.written;
    lines.push(format!(
        "Skipped: {unknown} with names that the catalog does not have, {journeys} of journeys."
    ));
    if summary.disagreements().is_empty() {
        lines.push(agreement(summary));
    }
    lines
}

fn agreement(summary: &Summary) -> String {
    let waiting: u64 = summary.connections.iter().map(|account| account.waiting).sum();
    let end = match waiting {
        0 => "is delivered or a dead letter".to_owned(),
        _ => format!("is delivered, a dead letter, or one of {waiting} that wait in the tiers"),
    };
    format!("The sums agree: every event that matched {end}.")
}

fn dead_letters(summary: &Summary) -> Vec<String> {
    let of = |name: &str, letters: &DeadLetters| {
        let parts = letters.by_reason.iter().map(|(reason, count)| format!("{count} {reason}"));
        (letters.total > 0)
            .then(|| format!("Dead letters, {name}: {}.", parts.collect::<Vec<_>>().join(", ")))
    };
    let named = summary.connections.iter().map(|account| of(&account.name, &account.dead_lettered));
    let nameless = of("no connection", &summary.dead_letters_without_connection);
    named.chain([nameless]).flatten().collect()
}

fn header(picture: &Picture) -> Vec<Line> {
    let act = match picture.act {
        Act::Starting => "starting",
        Act::Running => "running",
        Act::Settling(_) => "settling",
        Act::Stopping => "stopping",
    };
    let Written { events, malformed, unknown, journeys } = picture.written;
    vec![
        vec![
            span(format!("Barnabas demo  {} s  ", picture.elapsed.as_secs()), Tone::Strong),
            span(act, Tone::Plain),
        ],
        vec![
            span("events   ", Tone::Quiet),
            span(format!("{events}, {}/s", picture.events_per_second), Tone::Plain),
            span(
                format!(
                    "  ({malformed} malformed, {unknown} unknown names, {journeys} of journeys)"
                ),
                Tone::Quiet,
            ),
        ],
        vec![
            span("metrics  ", Tone::Quiet),
            span(format!("http://{}/metrics", picture.telemetry), Tone::Plain),
        ],
        vec![span("log      ", Tone::Quiet), span(picture.log.display().to_string(), Tone::Plain)],
    ]
}

fn footer(picture: &Picture) -> Vec<Line> {
    let hint = |text: &str| vec![span(text, Tone::Quiet)];
    match picture.act {
        Act::Starting => vec![hint("The service joins its consumer groups.")],
        Act::Running => vec![hint("Ctrl-C ends with a summary.")],
        Act::Settling(left) => {
            let plain = |line| vec![span(line, Tone::Plain)];
            let lines = settling(picture, left).into_iter().map(plain);
            lines.chain([hint("Ctrl-C ends at once, without a summary.")]).collect()
        }
        Act::Stopping => vec![hint("The service ends in order and commits; then the sums follow.")],
    }
}

/// What is still open, and why.
fn settling(picture: &Picture, left: Duration) -> Vec<String> {
    let open: u64 = picture.rows.iter().map(|row| row.account.waiting).sum();
    let first = format!(
        "The campaign is over, {open} deliveries are open ({} s more at most):",
        left.as_secs()
    );
    let waiting = picture.rows.iter().filter(|row| row.account.waiting > 0);
    let cause = |row: &Row| {
        format!("  {}: {}, {}", row.account.name, row.account.waiting, cause(row.state))
    };
    [first].into_iter().chain(waiting.map(cause)).collect()
}

/// Why a connection's deliveries are still open.
const fn cause(state: Option<LaneState>) -> &'static str {
    match state {
        Some(LaneState::BreakerOpen | LaneState::Probing) => {
            "its endpoint is down; given up 20 s after the first try"
        }
        Some(LaneState::Paused) => "its endpoint asked for a pause",
        Some(LaneState::Backlogged) => "it keeps to its rate",
        Some(LaneState::Idle | LaneState::Busy) | None => "retries fall due",
    }
}

fn heading() -> String {
    cells(["NAME", "ENDPOINT", "MATCHED", "DELIVERED", "/S", "RETRIED", "DEAD", "WAITS", "STATE"])
}

fn row(row: &Row) -> Line {
    let account = &row.account;
    let cells = cells([
        &account.name,
        &account.endpoint,
        &account.matched.to_string(),
        &account.delivered.to_string(),
        &row.per_second.to_string(),
        &account.retried.to_string(),
        &account.dead_lettered.total.to_string(),
        &account.waiting.to_string(),
        "",
    ]);
    let (state, tone) = state(row);
    vec![span(cells, Tone::Plain), span(state, tone)]
}

/// What a lane is doing. A fast endpoint's is idle between two deliveries, which is not what is meant.
fn state(row: &Row) -> (String, Tone) {
    let tone = match row.state {
        Some(LaneState::Idle) if row.per_second > 0 => return ("busy".to_owned(), Tone::Good),
        Some(LaneState::Busy) => Tone::Good,
        Some(LaneState::Idle) | None => Tone::Quiet,
        Some(LaneState::Backlogged | LaneState::Paused) => Tone::Uneasy,
        Some(LaneState::BreakerOpen | LaneState::Probing) => Tone::Bad,
    };
    let name = row.state.map_or_else(|| "-".to_owned(), |state| state.as_str().replace('_', " "));
    (name, tone)
}

/// The last one is left as it is; the others leave it 12 columns of [`WIDTH`].
fn cells(cells: [&str; 9]) -> String {
    let [name, endpoint, matched, delivered, speed, retried, dead, waits, state] = cells;
    format!(
        "{name:<9} {endpoint:<15} {matched:>7} {delivered:>9} {speed:>3} {retried:>7} {dead:>4} {waits:>5} {state}"
    )
}

fn summary_row(cells: [&str; 9]) -> String {
    let [name, endpoint, matched, delivered, retried, dead, dropped, waiting, twice] = cells;
    format!(
        "{name:<9} {endpoint:<15} {matched:>7} {delivered:>9} {retried:>7} {dead:>4} {dropped:>7} {waiting:>7} {twice:>5}"
    )
}

fn span(text: impl Into<String>, tone: Tone) -> Span {
    Span { text: text.into(), tone }
}

#[cfg(test)]
mod tests;
