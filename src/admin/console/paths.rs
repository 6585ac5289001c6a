//! Where the pages about a project's connections are, and how a filter stands in an address.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::form_urlencoded::Serializer;

/// All that means something in a path.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

fn encoded(text: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(text, ENCODED)
}

/// A filter's fields as the query of an address, without those that are empty.
pub(super) fn query(fields: &[(&str, &str)]) -> String {
    let given = fields.iter().filter(|(_, value)| !value.is_empty());
    Serializer::new(String::new()).extend_pairs(given).finish()
}

pub(super) fn marketplace(project: &str) -> String {
    format!("/projects/{}/integrations", encoded(project))
}

pub(super) fn connect(project: &str) -> String {
    format!("/projects/{}/integrations/webhooks/connect", encoded(project))
}

/// What a choice would have matched.
pub(super) fn match_preview(project: &str) -> String {
    format!("/projects/{}/match-preview", encoded(project))
}

/// The configured integrations.
pub(super) fn list(project: &str) -> String {
    format!("/projects/{}/integrations/configured", encoded(project))
}

/// The settings of a connection; its other pages lie below.
pub(super) fn connection(project: &str, id: &str) -> String {
    format!("/projects/{}/connections/{}", encoded(project), encoded(id))
}
