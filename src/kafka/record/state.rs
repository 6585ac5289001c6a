//! The records of the states topic: what the service itself has decided of a connection.
//!
//! Writes and reads them, and decides nothing. A record is about one revision of a connection; whether that is the
//! one in force is the table's question. The producer writes them, the connections' reader reads them.

use bytes::Bytes;
use serde::Deserialize;

use super::{Encoded, Object};
use crate::engine::connection::ConnectionKey;
use crate::engine::streak::DeactivationReason;
use crate::engine::table::Deactivation;
use crate::engine::time::Timestamp;

/// The only status there is; whatever else a later version writes is not understood here.
const INACTIVE: &str = "inactive";

/// The record that deactivates a revision of a connection.
#[must_use]
pub fn encode(
    key: &ConnectionKey,
    revision: u64,
    reason: DeactivationReason,
    at: Timestamp,
) -> Encoded {
    let (reason, at) = (reason.as_str(), at.as_secs());
    let value =
        format!(r#"{{"revision":{revision},"status":"{INACTIVE}","reason":"{reason}","at":{at}}}"#);
    Encoded { key: Some(key.as_str().to_owned()), headers: Vec::new(), value: Bytes::from(value) }
}

/// Reads a record's value; `None` for a null and for what cannot be read: then nothing is deactivated.
#[must_use]
pub fn decode(value: Option<&[u8]>) -> Option<Deactivation> {
    let Object(state) = serde_json::from_slice::<Object<State>>(value?).ok()?;
    (*state.status == *INACTIVE)
        .then_some(Deactivation { revision: state.revision, reason: state.reason })
}

#[derive(Deserialize)]
struct State {
    revision: u64,
    status: Box<str>,
    reason: Box<str>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOLDEN: &str = include_str!("../../../tests/fixtures/v1/state.json");

    #[test]
    fn a_deactivation_is_written_as_the_contract_says() {
        let key = ConnectionKey::parse("4172/whc_1").unwrap();
        let at = Timestamp::from_millis(1_760_090_581_999);
        let encoded = encode(&key, 7, DeactivationReason::Gone, at);
        assert_eq!(encoded.key.as_deref(), Some("4172/whc_1"));
        assert_eq!(encoded.value, GOLDEN.trim_end().as_bytes());
    }

    #[test]
    fn a_deactivation_is_read_back_and_anything_else_is_none() {
        let read = decode(Some(GOLDEN.as_bytes()));
        assert_eq!(read, Some(Deactivation { revision: 7, reason: "gone".into() }));
        assert_eq!(decode(None), None);
        for value in [
            "",
            "null",
            r#"[7,"inactive","gone"]"#,
            r#"{"revision":7,"status":"active","reason":"gone"}"#,
            r#"{"revision":-1,"status":"inactive","reason":"gone"}"#,
            r#"{"status":"inactive","reason":"gone"}"#,
        ] {
            assert_eq!(decode(Some(value.as_bytes())), None, "{value}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(value in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(Some(&value));
        }
    }
}
