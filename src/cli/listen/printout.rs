//! How `listen` prints a request: a line and its body for people, or a JSON object a line for programs.
//!
//! What came over the network cannot steer the terminal, and credentials are judged but never shown.

use std::borrow::Cow;
use std::io::{self, Write};

use http::StatusCode;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::demo::receiver::{Credentials, Receipt};

/// A request for people: two lines.
pub(super) fn write_text(
    out: &mut impl Write,
    receipt: &Receipt,
    credentials: &Credentials,
) -> io::Result<()> {
    let status = receipt.status.as_ref().map_or("---", StatusCode::as_str);
    let (mark, query) = receipt.query.as_deref().map_or(("", ""), |query| ("?", query));
    writeln!(
        out,
        "{}  {status}  {}{mark}{}  id {}  attempt {}  authorization {}",
        time(receipt),
        printable(&receipt.path),
        printable(query),
        or_dash(receipt.webhook_id.as_deref()),
        or_dash(receipt.webhook_attempt.as_deref()),
        verdict(receipt, credentials),
    )?;
    writeln!(out, "  {}", printable(&String::from_utf8_lossy(&receipt.body)))
}

/// A request for programs: one JSON object.
pub(super) fn write_json(
    out: &mut impl Write,
    receipt: &Receipt,
    credentials: &Credentials,
) -> io::Result<()> {
    let line = Line {
        at: time(receipt),
        path: &receipt.path,
        query: receipt.query.as_deref(),
        status: receipt.status.map(|status| status.as_u16()),
        authorization: verdict(receipt, credentials),
        webhook_id: receipt.webhook_id.as_deref(),
        webhook_timestamp: receipt.webhook_timestamp.as_deref(),
        webhook_attempt: receipt.webhook_attempt.as_deref(),
        content_type: receipt.content_type.as_deref(),
        user_agent: receipt.user_agent.as_deref(),
        body: Body::of(&receipt.body),
    };
    serde_json::to_writer(&mut *out, &line)?;
    writeln!(out)
}

#[derive(Serialize)]
struct Line<'a> {
    at: String,
    path: &'a str,
    query: Option<&'a str>,
    /// Null where the client left before its answer.
    status: Option<u16>,
    authorization: &'static str,
    webhook_id: Option<&'a str>,
    webhook_timestamp: Option<&'a str>,
    webhook_attempt: Option<&'a str>,
    content_type: Option<&'a str>,
    user_agent: Option<&'a str>,
    body: Body<'a>,
}

/// A body, passed on to the byte where it is JSON on one line, else as text.
#[derive(Serialize)]
#[serde(untagged)]
enum Body<'a> {
    Json(&'a RawValue),
    Text(Cow<'a, str>),
}

impl<'a> Body<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        let one_line = !bytes.contains(&b'\n') && !bytes.contains(&b'\r');
        match serde_json::from_slice(bytes) {
            Ok(json) if one_line => Self::Json(json),
            Ok(_) | Err(_) => Self::Text(String::from_utf8_lossy(bytes)),
        }
    }
}

const fn verdict(receipt: &Receipt, credentials: &Credentials) -> &'static str {
    match (credentials, receipt.admitted) {
        (Credentials::Anyone, _) => "unchecked",
        (Credentials::Basic { .. } | Credentials::Bearer { .. }, true) => "accepted",
        (Credentials::Basic { .. } | Credentials::Bearer { .. }, false) => "refused",
    }
}

/// RFC 3339 with milliseconds; a clock beyond the year 9999 is shown as a dash.
fn time(receipt: &Receipt) -> String {
    jiff::Timestamp::try_from(receipt.at)
        .map_or_else(|_| "-".to_owned(), |timestamp| format!("{timestamp:.3}"))
}

fn or_dash(text: Option<&str>) -> Cow<'_, str> {
    printable(text.unwrap_or("-"))
}

/// The text without what a terminal would obey.
fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let harmless = |char: char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char };
    Cow::Owned(text.chars().map(harmless).collect())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    fn receipt(body: &'static [u8]) -> Receipt {
        let text = |text: &str| Some(text.to_owned());
        Receipt {
            path: "/webhook".into(),
            query: text("src=xp"),
            at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_760_090_581_042),
            authorization: text("Basic eHA6c2VjcmV0"),
            webhook_id: text("01JB8Z6W6Q0R5T8M3N2K7P4V9C"),
            webhook_timestamp: text("1760090581"),
            webhook_attempt: text("2"),
            traceparent: None,
            content_type: text("application/json"),
            user_agent: None,
            body: body.into(),
            admitted: true,
            status: Some(StatusCode::OK),
        }
    }

    fn text(receipt: &Receipt, credentials: &Credentials) -> String {
        let mut out = Vec::new();
        write_text(&mut out, receipt, credentials).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn json(receipt: &Receipt, credentials: &Credentials) -> String {
        let mut out = Vec::new();
        write_json(&mut out, receipt, credentials).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn people_get_a_line_and_the_body() {
        let shown = text(&receipt(b"{\"event\":\"message_open\"}"), &Credentials::Anyone);
        insta::assert_snapshot!(shown, @r#"
        2025-10-10T10:03:01.042Z  200  /webhook?src=xp  id 01JB8Z6W6Q0R5T8M3N2K7P4V9C  attempt 2  authorization unchecked
          {"event":"message_open"}
        "#);
    }

    #[test]
    fn programs_get_an_object_with_the_body_to_the_byte() {
        let receipt = receipt(b"{\"b\":9007199254740993, \"a\":1}");
        let shown = json(&receipt, &Credentials::basic("xp", "secret"));
        insta::assert_snapshot!(shown, @r#"{"at":"2025-10-10T10:03:01.042Z","path":"/webhook","query":"src=xp","status":200,"authorization":"accepted","webhook_id":"01JB8Z6W6Q0R5T8M3N2K7P4V9C","webhook_timestamp":"1760090581","webhook_attempt":"2","content_type":"application/json","user_agent":null,"body":{"b":9007199254740993, "a":1}}"#);
    }

    #[test]
    fn no_credential_is_ever_shown() {
        let receipt = receipt(b"{}");
        let credentials = Credentials::basic("xp", "secret");
        let shown = text(&receipt, &credentials) + &json(&receipt, &credentials);
        assert!(!shown.contains("secret") && !shown.contains("eHA6"), "{shown}");
    }

    #[test]
    fn a_request_is_one_line_whatever_its_body() {
        for body in [&b"{\n\"a\":1}"[..], b"no json", b"\xff\xfe", b""] {
            let shown = json(&receipt(body), &Credentials::Anyone);
            assert_eq!(shown.matches('\n').count(), 1, "{shown:?}");
            assert!(serde_json::from_str::<serde_json::Value>(&shown).is_ok(), "{shown:?}");
        }
    }

    #[test]
    fn a_body_cannot_steer_the_terminal() {
        let shown = text(&receipt(b"\x1b[2Jgone\nfaked line"), &Credentials::Anyone);
        assert!(!shown.contains('\x1b'), "{shown:?}");
        assert_eq!(shown.lines().count(), 2);
    }

    #[test]
    fn the_verdict_on_credentials_is_told() {
        let refused = Receipt { admitted: false, ..receipt(b"{}") };
        assert_eq!(verdict(&refused, &Credentials::bearer("abc")), "refused");
        assert_eq!(verdict(&receipt(b"{}"), &Credentials::bearer("abc")), "accepted");
        assert_eq!(verdict(&refused, &Credentials::Anyone), "unchecked");
    }
}
