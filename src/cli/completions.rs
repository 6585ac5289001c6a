//! `barnabas completions`: the completion script of a shell, on stdout.
//!
//! Knows no option itself: clap writes the script from the command line's own description.

use std::io::{self, Write};

use clap_complete::Shell;

use super::{CliError, command_line};

const EXAMPLES: &str = "\
Examples:
  barnabas completions bash > /etc/bash_completion.d/barnabas
  barnabas completions zsh > ~/.zfunc/_barnabas
  barnabas completions fish > ~/.config/fish/completions/barnabas.fish";

/// Arguments of `barnabas completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The shell
    shell: Shell,
}

/// Prints the script.
///
/// # Errors
/// Where the output cannot be written.
pub fn run(args: &Args) -> Result<(), CliError> {
    // Written to memory first: the generator panics where its output fails.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command_line(), "barnabas", &mut script);
    Ok(io::stdout().lock().write_all(&script)?)
}
