//! `barnabas serve`: the service.

use std::io::{self, Write as _};

use clap::ValueEnum;
use tokio::runtime;
use tracing::warn;

use super::{CliError, Context};
use crate::admin::tokens::shown_once;
use crate::app::{App, AppError, Role, Roles, TopicCheck};
use crate::shutdown::Shutdown;

const EXAMPLES: &str = "\
Examples:
  barnabas serve --config barnabas.toml
  BARNABAS_KAFKA__BOOTSTRAP_SERVERS=kafka:9092 barnabas serve
  barnabas serve --roles deliver                   a worker: no admin API, no console
  barnabas serve --roles console                   only for people; other instances deliver

SIGTERM or SIGINT: what is queued is parked, attempts under way have shutdown.grace_seconds to end, and the rest is
committed. A second signal ends the process at once; what was open is repeated after the next start.";

/// Deliver events to webhooks until told to stop.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Run only these parts, separated by commas; all of them unless told
    #[arg(long, value_enum, value_delimiter = ',', value_name = "ROLE")]
    roles: Vec<RoleName>,
}

/// What an instance can be told to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RoleName {
    /// Read events and retries, and deliver.
    Deliver,
    /// Serve the admin API.
    Api,
    /// Serve the console, and the API beside it.
    Console,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Deliver => Self::Deliver,
            RoleName::Api => Self::Api,
            RoleName::Console => Self::Console,
        }
    }
}

/// Runs the service.
///
/// # Errors
/// What kept it from starting, or which part of it ended unasked.
pub fn run(args: &Args, context: &Context) -> Result<(), CliError> {
    let config = context.config()?;
    let roles: Vec<Role> = args.roles.iter().copied().map(Role::from).collect();
    if config.admin.listen.is_none() && !roles.is_empty() && !roles.contains(&Role::Deliver) {
        return Err(CliError::Usage(
            "these roles need admin.listen, which is empty: there would be nothing to do".into(),
        ));
    }
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
        let app = App::build(config, TopicCheck::Look, shutdown).await?.with(Roles::of(&roles));
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
