//! The section `[log]` and the start of logging to stderr.
//!
//! Stdout is for data and never written to. `serve` and other commands that run for long call
//! [`LogConfig::init`], once.

use std::io::{self, IsTerminal};

use serde::Deserialize;
use tracing_subscriber::EnvFilter;

/// The section `[log]` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// What is logged: a level, also by part of the program, as tracing's `EnvFilter` reads it.
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Auto }
    }
}

impl LogConfig {
    /// Starts logging to stderr, for the rest of the process; a second call changes nothing.
    pub fn init(&self) {
        let is_terminal = io::stderr().is_terminal();
        let filter = self.filter().unwrap_or_else(|_| EnvFilter::new("info"));
        let lines = tracing_subscriber::fmt()
            .with_writer(io::stderr)
            .with_env_filter(filter)
            .with_ansi(is_terminal);
        let is_json = match self.format {
            LogFormat::Auto => !is_terminal,
            LogFormat::Text => false,
            LogFormat::Json => true,
        };
        // An error says that this process logs already, which is what was asked for.
        let _ = if is_json { lines.json().try_init() } else { lines.try_init() };
    }

    /// What lets a line through, or why the level cannot be read; [`super::Config::load`] checks it.
    pub(super) fn filter(&self) -> Result<EnvFilter, String> {
        if self.level.trim().is_empty() {
            return Err("the level is empty".to_owned());
        }
        EnvFilter::builder().parse(&self.level).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_checked() {
        let config = |level: &str| LogConfig { level: level.into(), ..LogConfig::default() };
        for level in ["info", "off", "info,barnabas::kafka=debug", "warn,librdkafka=info"] {
            assert!(config(level).filter().is_ok(), "{level}");
        }
        for level in ["", "barnabas=loud", "info,=,"] {
            assert!(config(level).filter().is_err(), "{level}");
        }
    }
}
