//! `barnabas schema`: the JSON Schema (draft 2020-12) of a record or of the configuration, or the admin API's OpenAPI
//! document, on stdout.
//!
//! The schemas are files of their own, compiled in; they restate the contract and decide nothing:
//! what is accepted is decided by the decoders in `kafka::record`.

use std::borrow::Cow;
use std::io::{self, Write};

use clap::ValueEnum;

use super::CliError;
use crate::admin::api::openapi;

const EXAMPLES: &str = "\
Examples:
  barnabas schema event > event.schema.json
  barnabas schema connection | jq .properties.auth
  barnabas schema dead-letter
  barnabas schema config > barnabas.schema.json       for an editor of the file of --config
  barnabas schema openapi > barnabas.openapi.json";

/// Arguments of `barnabas schema`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Of what
    record: Record,
}

/// A kind of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Record {
    /// A campaign event: the value of a record of the events topic
    Event,
    /// A connection: the value of a record of the connections topic
    Connection,
    /// An attempt: the value of a record of the attempt log
    Attempt,
    /// A dead letter: the headers of a record of the dead-letter topic; its value is the event as it came
    DeadLetter,
    /// No record: a configuration file
    Config,
    /// No record: the admin API, as OpenAPI 3.1
    Openapi,
}

impl Record {
    fn schema(self) -> Cow<'static, str> {
        match self {
            Self::Event => include_str!("schema/event.json").into(),
            Self::Connection => include_str!("schema/connection.json").into(),
            Self::Attempt => include_str!("schema/attempt.json").into(),
            Self::DeadLetter => include_str!("schema/dead-letter.json").into(),
            Self::Config => {
                let schema = serde_json::to_string_pretty(&crate::config::schema());
                (schema.expect("the schema is plain data") + "\n").into()
            }
            Self::Openapi => {
                let document = openapi().to_pretty_json();
                (document.expect("the document is plain data") + "\n").into()
            }
        }
    }
}

/// Prints the schema.
///
/// # Errors
/// Where the output cannot be written.
pub fn run(args: &Args) -> Result<(), CliError> {
    Ok(io::stdout().lock().write_all(args.record.schema().as_bytes())?)
}

#[cfg(test)]
mod tests;
