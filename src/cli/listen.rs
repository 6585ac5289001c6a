//! `barnabas listen`: a TLS receiver on this machine that checks credentials and prints what arrives.
//!
//! Tells on stderr how to let Barnabas deliver here, then prints each request before it is answered. Reads no
//! configuration and needs no broker. The receiver itself is the demo's.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::mpsc;

use self::invitation::Invitation;
use super::{CliError, Context, Output};
use crate::demo::receiver::{
    Authority, Behaviour, Credentials, ELSEWHERE, Keep, Receiver, ReceiverError,
};

mod invitation;
mod printout;

/// Requests that wait to be printed. A slow terminal then holds up their answers, and nothing is lost.
const PRINT_QUEUE: usize = 64;

const EXAMPLES: &str = "\
Examples:
  barnabas listen                                     take everything, print it
  barnabas listen --basic xp:secret                   answer 401 to others
  barnabas listen --status 503 --latency 2s           see how retries look
  barnabas listen --count 10 -o json | jq .body       ten requests, then end";

/// Arguments of `barnabas listen`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// Let in only this user; others are answered 401
    #[arg(long, value_name = "USER:PASSWORD", value_parser = parse_basic, conflicts_with = "bearer")]
    basic: Option<Basic>,
    /// Let in only this token; others are answered 401
    #[arg(long, value_name = "TOKEN", value_parser = parse_secret)]
    bearer: Option<SecretString>,
    /// What to answer
    #[arg(long, value_name = "CODE", default_value = "200", value_parser = parse_status)]
    status: StatusCode,
    /// How long to wait before the answer, such as 250ms or 2s
    #[arg(long, value_name = "TIME", default_value = "0ms", value_parser = parse_latency)]
    latency: Duration,
    /// Where to write the certificate that egress.ca_file must name; made anew at every start
    #[arg(long, value_name = "FILE", default_value = "barnabas-listen-ca.pem")]
    ca_out: PathBuf,
    /// End after so many requests
    #[arg(long, value_name = "N")]
    count: Option<NonZeroU64>,
}

impl Args {
    const fn behaviour(&self) -> Behaviour {
        if self.latency.is_zero() {
            Behaviour::status(self.status)
        } else {
            Behaviour::Slow { latency: self.latency, code: self.status }
        }
    }

    fn credentials(&self) -> Credentials {
        match (&self.basic, &self.bearer) {
            (Some(basic), _) => Credentials::basic(&basic.username, basic.password.expose_secret()),
            (None, Some(token)) => Credentials::bearer(token.expose_secret()),
            (None, None) => Credentials::Anyone,
        }
    }
}

/// A user and a password from the command line.
#[derive(Clone, Debug)]
struct Basic {
    username: String,
    password: SecretString,
}

/// Runs `barnabas listen`; ends after `--count` requests, else with the process.
///
/// # Errors
/// [`CliError::Failed`] where the address or the certificate's file is not to be had.
pub fn run(args: Args, context: &Context) -> Result<(), CliError> {
    let (behaviour, credentials) = (args.behaviour(), args.credentials());
    let ca_file = std::path::absolute(&args.ca_out).unwrap_or(args.ca_out);
    let authority = Authority::generate()?;

    let (sender, mut receipts) = mpsc::channel(PRINT_QUEUE);
    let receiver = Receiver::start(args.listen, Keep::HandOver(sender), &authority)?;
    receiver.set_credentials(ELSEWHERE, &credentials);
    receiver.set_behaviour(ELSEWHERE, behaviour);
    authority.write_pem(&ca_file)?;
    invite(&receiver, &ca_file, &credentials)?;

    let mut out = io::stdout().lock();
    for _ in 0..args.count.map_or(u64::MAX, NonZeroU64::get) {
        let Some(receipt) = receipts.blocking_recv() else {
            return Err(CliError::Failed("the receiver has stopped".to_owned()));
        };
        match context.output() {
            Output::Table => printout::write_text(&mut out, &receipt, &credentials)?,
            Output::Json => printout::write_json(&mut out, &receipt, &credentials)?,
        }
        out.flush()?;
    }
    Ok(())
}

/// Tells on stderr, in one piece, how to let Barnabas deliver here.
fn invite(receiver: &Receiver, ca_file: &Path, credentials: &Credentials) -> Result<(), CliError> {
    let invitation = Invitation {
        url: receiver.url("/webhook"),
        address: receiver.reachable_address(),
        ca_file,
        credentials,
        created_at: jiff::Timestamp::now().as_second(),
    };
    Ok(write!(io::stderr().lock(), "{invitation}")?)
}

impl From<ReceiverError> for CliError {
    fn from(error: ReceiverError) -> Self {
        Self::Failed(error.to_string())
    }
}

fn parse_basic(text: &str) -> Result<Basic, &'static str> {
    let (username, password) = text.split_once(':').ok_or("a colon must part user and password")?;
    if username.is_empty() || password.is_empty() {
        return Err("neither user nor password may be empty");
    }
    Ok(Basic { username: username.to_owned(), password: password.into() })
}

fn parse_secret(text: &str) -> Result<SecretString, &'static str> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("a token is visible ASCII");
    }
    Ok(text.into())
}

fn parse_status(text: &str) -> Result<StatusCode, &'static str> {
    let status = text.parse::<StatusCode>().ok();
    status
        .filter(|status| (200..=599).contains(&status.as_u16()))
        .ok_or("a status is a number from 200 to 599")
}

fn parse_latency(text: &str) -> Result<Duration, String> {
    let span: jiff::SignedDuration = text
        .parse()
        .map_err(|_: jiff::Error| "a time is a number with its unit, such as 250ms or 2s")?;
    Duration::try_from(span).map_err(|_| "a time is never negative".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Line::try_parse_from(line.split_whitespace()).map(|line| line.args)
    }

    #[test]
    fn without_arguments_it_takes_everything() {
        let args = parse("listen").unwrap();
        assert_eq!(args.listen, "127.0.0.1:8443".parse().unwrap());
        assert_eq!(args.behaviour(), Behaviour::status(StatusCode::OK));
        assert!(matches!(args.credentials(), Credentials::Anyone));
    }

    #[test]
    fn status_and_latency_go_together() {
        let args = parse("listen --status 503 --latency 250ms").unwrap();
        let latency = Duration::from_millis(250);
        let expected = Behaviour::Slow { latency, code: StatusCode::SERVICE_UNAVAILABLE };
        assert_eq!(args.behaviour(), expected);
    }

    #[test]
    fn a_password_may_hold_colons_and_is_never_shown() {
        let args = parse("listen --basic xp:hunter:2").unwrap();
        assert!(!format!("{args:?}").contains("hunter"));
        let Credentials::Basic { username, password } = args.credentials() else {
            panic!("these are basic credentials");
        };
        assert_eq!((&*username, password.expose_secret()), ("xp", "hunter:2"));
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        for line in [
            "listen --basic xp",
            "listen --basic :x",
            "listen --basic a:b --bearer c",
            "listen --status 100",
            "listen --status 600",
            "listen --latency -1s",
            "listen --latency soon",
            "listen --count 0",
            "listen --listen localhost",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
