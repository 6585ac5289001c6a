//! The command line: reads the arguments, runs one command and gives its exit code.
//!
//! Every command is a file of its own with `Args` and `run(args, &Context)`. A command writes its
//! data to stdout and returns a [`CliError`] for everything that went wrong; only this file writes
//! errors to stderr and knows exit codes. `main` calls [`run`].

pub mod api;
pub mod check_config;
pub mod completions;
pub mod connections;
pub mod dead_letters;
pub mod demo;
pub mod keyring;
pub mod listen;
mod progress;
pub mod schema;
pub mod serve;
mod table;
pub mod tokens;
pub mod topics;
pub mod trigger;

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::TypedValueParser as _;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

use crate::config::{Config, FaultReport};
use crate::kafka::topics::TopicsError;

pub use self::table::Table;

/// `sysexits.h`'s `EX_CONFIG`, as the contract names it.
const EXIT_CONFIG: u8 = 78;

const EXAMPLES: &str = "\
Examples:
  barnabas demo                                    see it work, with nothing installed
  barnabas check-config --config barnabas.toml     every fault at once
  barnabas topics create --config barnabas.toml    make the topics it needs
  barnabas serve --config barnabas.toml            deliver

Exit codes:
  0 done, 1 failure, 2 usage, 3 check failed or drift, 4 not found,
  5 broker or API unreachable, 78 invalid configuration";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "barnabas", version, about, after_help = EXAMPLES, arg_required_else_help = true)]
struct Cli {
    /// Configuration file (TOML); it stands above the defaults and below `BARNABAS_<SECTION>__<KEY>`
    #[arg(
        long, global = true, value_name = "FILE", env = "BARNABAS_CONFIG",
        value_parser = clap::builder::OsStringValueParser::new().map(PathBuf::from)
    )]
    config: Option<PathBuf>,
    /// How data is printed
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Deliver events to webhooks until told to stop
    Serve(serve::Args),
    /// Show everything at work in one process, on an embedded broker
    Demo(demo::Args),
    /// Check file, environment, broker and topics; report every fault at once
    CheckConfig(check_config::Args),
    /// Compare the topics with what is needed, or make them
    Topics(topics::Args),
    /// Look at connections and change them, through the admin API
    Connections(connections::Args),
    /// Look at dead letters, put them back into delivery, export them
    DeadLetters(dead_letters::Args),
    /// Make, list and revoke the tokens of the admin API
    Tokens(tokens::Args),
    /// Make and change the keys that seal credentials
    Keyring(keyring::Args),
    /// Receive webhooks over TLS on this machine, check and print them
    Listen(listen::Args),
    /// Produce sample campaign events
    Trigger(trigger::Args),
    /// Print the JSON Schema of a record
    Schema(schema::Args),
    /// Print the completion script of a shell
    Completions(completions::Args),
}

/// How a command prints its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// What the global options say; handed to every command.
#[derive(Clone, Debug)]
pub struct Context {
    file: Option<PathBuf>,
    output: Output,
}

impl Context {
    /// From the global options.
    #[must_use]
    pub const fn new(file: Option<PathBuf>, output: Output) -> Self {
        Self { file, output }
    }

    /// Reads and checks the configuration: defaults, file, environment. Only a command that asks
    /// for it can fail by it.
    ///
    /// # Errors
    /// [`CliError::Config`] with every fault.
    pub fn config(&self) -> Result<Config, CliError> {
        Config::load(self.file.as_deref()).map_err(CliError::Config)
    }

    /// How data is to be printed.
    #[must_use]
    pub const fn output(&self) -> Output {
        self.output
    }
}

/// Why a command did not do what was asked. Every text says what failed, with which value, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// It was tried and did not work.
    #[error("{0}")]
    Failed(String),
    /// The arguments cannot be used, in a way that clap cannot see.
    #[error("{0}")]
    Usage(String),
    /// A check said no, or something differs from what is wanted.
    #[error("{0}")]
    CheckFailed(String),
    /// What was named does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The broker or the API does not answer.
    #[error("{0}")]
    Unreachable(String),
    /// The configuration cannot be used.
    #[error("{0}")]
    Config(FaultReport),
    /// Nobody reads our output any more (`barnabas … | head`): the end, not a failure.
    #[error("the output was closed")]
    OutputClosed,
}

impl CliError {
    /// A file that could not be used; one that is not there is a thing that was not found.
    fn of_file(said: &dyn fmt::Display, error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound {
            return Self::NotFound(said.to_string());
        }
        Self::Failed(said.to_string())
    }

    /// The code that the process ends with.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::OutputClosed => 0,
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::CheckFailed(_) => 3,
            Self::NotFound(_) => 4,
            Self::Unreachable(_) => 5,
            Self::Config(_) => EXIT_CONFIG,
        }
    }
}

impl From<io::Error> for CliError {
    /// For the writing of data; what fails on other files says so itself.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::OutputClosed;
        }
        Self::Failed(format!("the output cannot be written: {error}"))
    }
}

impl From<TopicsError> for CliError {
    fn from(error: TopicsError) -> Self {
        match error {
            TopicsError::Unreachable { .. } => Self::Unreachable(error.to_string()),
            TopicsError::Refused(_) => Self::CheckFailed(error.to_string()),
            TopicsError::Client(_) | TopicsError::Request { .. } => Self::Failed(error.to_string()),
        }
    }
}

/// Runs the command that the process's arguments name.
#[must_use]
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(asked_or_wrong) => {
            // Nothing can be done where even stderr is closed.
            let _ = asked_or_wrong.print();
            return ExitCode::from(u8::try_from(asked_or_wrong.exit_code()).unwrap_or(2));
        }
    };
    // An empty variable names no file.
    let file = cli.config.filter(|file| !file.as_os_str().is_empty());
    let context = Context::new(file, cli.output);
    match cli.command.run(&context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !matches!(error, CliError::OutputClosed) {
                report(&error);
            }
            ExitCode::from(error.exit_code())
        }
    }
}

impl Command {
    fn run(self, context: &Context) -> Result<(), CliError> {
        match self {
            Self::Serve(args) => serve::run(&args, context),
            Self::Demo(args) => demo::run(args, context),
            Self::CheckConfig(args) => check_config::run(&args, context),
            Self::Topics(args) => topics::run(&args, context),
            Self::Connections(args) => connections::run(&args, context),
            Self::DeadLetters(args) => dead_letters::run(&args, context),
            Self::Tokens(args) => tokens::run(&args, context),
            Self::Keyring(args) => keyring::run(&args, context),
            Self::Listen(args) => listen::run(args, context),
            Self::Trigger(args) => trigger::run(args, context),
            Self::Schema(args) => schema::run(&args),
            Self::Completions(args) => completions::run(&args),
        }
    }
}

fn report(what: &dyn fmt::Display) {
    // Nothing can be done where even stderr is closed.
    let _ = writeln!(io::stderr(), "barnabas: {what}");
}

/// The command line as clap knows it, for the completions.
fn command_line() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command_line().debug_assert();
    }

    #[test]
    fn every_command_has_examples() {
        for command in command_line().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Examples:"), "{}", command.get_name());
        }
    }

    #[test]
    fn exit_codes_are_those_of_the_contract() {
        let text = String::new;
        let codes = [
            CliError::Failed(text()),
            CliError::Usage(text()),
            CliError::CheckFailed(text()),
            CliError::NotFound(text()),
            CliError::Unreachable(text()),
            CliError::Config(FaultReport::default()),
        ]
        .map(|error| error.exit_code());
        assert_eq!(codes, [1, 2, 3, 4, 5, 78]);
    }

    #[test]
    fn global_options_may_stand_behind_the_command() {
        let cli =
            Cli::try_parse_from(["barnabas", "topics", "plan", "-o", "json", "--config", "x.toml"])
                .unwrap();
        assert_eq!(cli.output, Output::Json);
        assert_eq!(cli.config, Some(PathBuf::from("x.toml")));
    }
}
