//! `barnabas serve`: the service.

use std::io::{self, Write as _};

use tokio::runtime;
use tracing::warn;

use super::{CliError, Context};
use crate::admin::tokens::shown_once;
use crate::app::{App, AppError, TopicCheck};
use crate::shutdown::Shutdown;

const EXAMPLES: &str = "\
Examples:
  barnabas serve --config barnabas.toml
  BARNABAS_KAFKA__BOOTSTRAP_SERVERS=kafka:9092 barnabas serve

SIGTERM or SIGINT: what is queued is parked, attempts under way have shutdown.grace_seconds to end, and the rest is
committed. A second signal ends the process at once; what was open is repeated after the next start.";

/// Deliver events to webhooks until told to stop.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {}

/// Runs the service.
///
/// # Errors
/// What kept it from starting, or which part of it ended unasked.
pub fn run(_: &Args, context: &Context) -> Result<(), CliError> {
    let config = context.config()?;
    config.log.init();
    for warning in config.warnings() {
        warn!("{warning}");
    }
    let shutdown = Shutdown::new(&config.shutdown);
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::Failed(format!("the runtime cannot start: {error}")))?;
    runtime.block_on(async {
        tokio::spawn(shutdown.clone().listen_to_signals());
        let app = App::build(config, TopicCheck::Look, shutdown).await?;
        if let Some(token) = app.set_up_token() {
            // Not by the log, which is kept and read by others.
            let _ = writeln!(
                io::stderr(),
                "set-up token, until this process ends: {}",
                shown_once(token)
            );
        }
        app.run().await
    })?;
    Ok(())
}

impl From<AppError> for CliError {
    fn from(error: AppError) -> Self {
        match error {
            AppError::Topics(error) => error.into(),
            AppError::Kafka(_)
            | AppError::Listen { .. }
            | AppError::ListenAdmin { .. }
            | AppError::Tokens(_)
            | AppError::Retry(_)
            | AppError::Catalog(_)
            | AppError::Keyring(_)
            | AppError::Webhook(_)
            | AppError::Thread(_)
            | AppError::Metrics(_)
            | AppError::Ended { .. } => Self::Failed(error.to_string()),
        }
    }
}
