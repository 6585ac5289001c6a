//! A record to be written: a campaign's event or a line of a file.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use bytes::Bytes;
use serde_json::Value;

use crate::cli::CliError;
use crate::demo::campaign::CampaignEvent;

/// A key and a value for the events topic.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sample {
    /// `<project_id>:<profile_id>`, where the value has both.
    pub(super) key: Option<String>,
    pub(super) value: Bytes,
}

impl From<CampaignEvent> for Sample {
    fn from(event: CampaignEvent) -> Self {
        Self { key: Some(event.key), value: event.value }
    }
}

impl Sample {
    /// A line as it is, whatever it holds: a malformed event is a sample too.
    fn from_line(line: Vec<u8>) -> Self {
        Self { key: key(&line), value: line.into() }
    }
}

/// The lines of a file that are not empty; `-` is stdin.
pub(super) fn from_file(
    path: &Path,
) -> Result<impl Iterator<Item = Result<Sample, CliError>> + use<>, CliError> {
    let reader: Box<dyn BufRead> = if path.as_os_str() == "-" {
        Box::new(BufReader::new(io::stdin()))
    } else {
        Box::new(BufReader::new(File::open(path).map_err(|error| unreadable(path, &error))?))
    };
    let path = path.to_owned();
    Ok(reader.split(b'\n').filter_map(move |line| match line {
        Ok(line) => {
            let line = line.strip_suffix(b"\r").unwrap_or(&line);
            (!line.is_empty()).then(|| Ok(Sample::from_line(line.to_vec())))
        }
        Err(error) => Some(Err(unreadable(&path, &error))),
    }))
}

fn unreadable(path: &Path, error: &io::Error) -> CliError {
    CliError::of_file(&format!("reading {} failed: {error}", path.display()), error)
}

/// The key that a producer should use, taken from the event.
fn key(line: &[u8]) -> Option<String> {
    let event: Value = serde_json::from_slice(line).ok()?;
    let project = id(event.get("project_id")?)?;
    let profile = id(event.get("properties")?.get("profile_id")?)?;
    Some(format!("{project}:{profile}"))
}

/// An id, which may be a text or a number.
fn id(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8]) -> Vec<Sample> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.ndjson");
        std::fs::write(&path, content).unwrap();
        from_file(&path).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn a_line_is_written_as_it_is_under_its_own_key() {
        let samples =
            read(b"{\"project_id\":4172, \"properties\":{\"profile_id\":\"p-1\"}}\r\n\n[]\nlast");
        let sample = |key: Option<&str>, value: &'static str| Sample {
            key: key.map(str::to_owned),
            value: Bytes::from_static(value.as_bytes()),
        };
        let event = "{\"project_id\":4172, \"properties\":{\"profile_id\":\"p-1\"}}";
        let expected = [sample(Some("4172:p-1"), event), sample(None, "[]"), sample(None, "last")];
        assert_eq!(samples, expected);
    }

    #[test]
    fn a_file_that_is_not_there_is_not_found() {
        let Err(error) = from_file(Path::new("/nowhere/events.ndjson")) else {
            panic!("there is no such file");
        };
        assert!(matches!(error, CliError::NotFound(_)), "{error}");
    }
}
