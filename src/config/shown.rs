//! Values as a fault shows them: quoted, short, and never a secret.
//!
//! Only words. The faults of [`super::known`] and [`super::check`] are written with it.

use config::{Value, ValueKind};

use crate::kafka::client;

/// In place of a secret.
pub(super) const REDACTED: &str = "[redacted]";

/// Longer values say no more about what is wrong.
const MAX_CHARS: usize = 80;

/// Whether a key's value must never be shown.
pub(super) fn is_secret(key: &str) -> bool {
    client::is_secret(key)
}

/// A value as TOML would have it, cut where it is long.
pub(super) fn shown(value: &Value) -> String {
    let whole = whole(value);
    if whole.chars().count() <= MAX_CHARS {
        return whole;
    }
    let start: String = whole.chars().take(MAX_CHARS).collect();
    format!("{start}…")
}

fn whole(value: &Value) -> String {
    match &value.kind {
        ValueKind::String(text) => format!("{text:?}"),
        ValueKind::Array(elements) => {
            let elements: Vec<_> = elements.iter().map(whole).collect();
            format!("[{}]", elements.join(", "))
        }
        ValueKind::Table(_) => "{…}".to_owned(),
        ValueKind::Nil
        | ValueKind::Boolean(_)
        | ValueKind::I64(_)
        | ValueKind::I128(_)
        | ValueKind::U64(_)
        | ValueKind::U128(_)
        | ValueKind::Float(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_look_like_toml_and_stay_short() {
        assert_eq!(shown(&Value::from("a\"b")), r#""a\"b""#);
        assert_eq!(shown(&Value::from(vec!["a", "b"])), r#"["a", "b"]"#);
        assert_eq!(shown(&Value::from(5)), "5");
        assert_eq!(shown(&Value::from("x".repeat(200))).chars().count(), MAX_CHARS + 1);
    }
}
