//! The real Apache Kafka that `deploy/kafka/run` starts, for as long as its value lives.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[derive(Debug)]
pub struct Broker {
    pub bootstrap: String,
    launcher: Child,
}

impl Broker {
    pub fn start() -> Result<Self, String> {
        let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kafka/run");
        let mut launcher = Command::new("setpriv")
            .args(["--pdeathsig", "TERM"])
            .arg(run)
            .args(["--port", "0"])
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("deploy/kafka/run cannot be started: {error}"))?;
        let stdout = launcher.stdout.take().ok_or("the launcher has no stdout")?;
        let mut line = String::new();
        let _ = BufReader::new(stdout).read_line(&mut line);
        match line.trim().strip_prefix("ready ") {
            Some(bootstrap) => Ok(Self { bootstrap: bootstrap.to_owned(), launcher }),
            None => {
                let _ = launcher.wait();
                Err(format!("no Apache Kafka: deploy/kafka/run said {line:?}"))
            }
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.launcher.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let _ = self.launcher.wait();
    }
}
