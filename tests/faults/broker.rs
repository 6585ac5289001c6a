//! A real Apache Kafka that can be killed, frozen and started again, behind a fault proxy.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[derive(Debug)]
pub struct Broker {
    folder: PathBuf,
    port: u16,
    /// What clients are told; all of them come through the proxy.
    advertised: SocketAddr,
    launcher: Option<Child>,
}

impl Broker {
    /// Starts one that keeps its data in `folder`.
    pub fn start(folder: PathBuf, advertised: SocketAddr) -> Result<Self, String> {
        let mut broker = Self { folder, port: free_port(), advertised, launcher: None };
        broker.launch()?;
        Ok(broker)
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    fn launch(&mut self) -> Result<(), String> {
        let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kafka/run");
        let mut launcher = Command::new("setpriv")
            .args(["--pdeathsig", "TERM"])
            .arg(run)
            .args(["--port", &self.port.to_string(), "--dir"])
            .arg(&self.folder)
            .arg(format!("--override=advertised.listeners=CLIENT://{}", self.advertised))
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("deploy/kafka/run cannot be started: {error}"))?;
        let stdout = launcher.stdout.take().ok_or("the launcher has no stdout")?;
        let mut line = String::new();
        let _ = BufReader::new(stdout).read_line(&mut line);
        if !line.starts_with("ready ") {
            let _ = launcher.wait();
            return Err(format!("no Apache Kafka: deploy/kafka/run said {line:?}"));
        }
        self.launcher = Some(launcher);
        Ok(())
    }

    /// Kills it as a crash would, and starts it again.
    pub fn crash_and_restart(&mut self) -> Result<(), String> {
        self.signal(Signal::SIGKILL)?;
        if let Some(mut launcher) = self.launcher.take() {
            let _ = launcher.wait();
        }
        self.launch()
    }

    /// SIGSTOP and SIGCONT.
    pub fn signal(&self, signal: Signal) -> Result<(), String> {
        let text = fs::read_to_string(self.folder.join("node-1/pid"));
        let pid = text.ok().and_then(|text| text.trim().parse().ok());
        let pid = pid.ok_or("the broker's process id cannot be read")?;
        kill(Pid::from_raw(pid), signal).map_err(|error| format!("{signal} to the broker: {error}"))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let Some(mut launcher) = self.launcher.take() else { return };
        let pid = i32::try_from(launcher.id()).expect("a process id");
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        let _ = launcher.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
}
