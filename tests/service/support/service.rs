//! The built program, running `serve`.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{eventually, within};

/// The program.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_barnabas");

/// Stopping may take as long as the slowest attempt and the leave.
const STOP_TIME: Duration = Duration::from_secs(60);

/// So many lines of its log are shown when a test fails.
const SHOWN_LINES: usize = 60;

/// A running instance. Killed when it is dropped.
#[derive(Debug)]
pub struct Service {
    child: Child,
    log: PathBuf,
    telemetry: SocketAddr,
}

impl Service {
    /// Starts an instance and waits until its telemetry answers.
    pub fn start(config: &Path, log: PathBuf, environment: &[(&str, &str)]) -> Self {
        Self::start_as(config, log, environment, &[])
    }

    /// With further arguments.
    pub fn start_as(
        config: &Path,
        log: PathBuf,
        environment: &[(&str, &str)],
        arguments: &[&str],
    ) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["serve", "--config"])
            .arg(config)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let telemetry = eventually("telemetry is served", || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", fs::read_to_string(&log).unwrap());
            address_in(&log, "telemetry is served")
        });
        Self { child, log, telemetry }
    }

    /// Waits until it is ready.
    pub fn ready(self) -> Self {
        eventually("the service is ready", || {
            (self.get("/readyz").0 == 200).then_some(()).or_else(|| {
                let is_running = fs::read_dir(format!("/proc/{}", self.child.id())).is_ok();
                assert!(is_running, "it ended:\n{}", self.log());
                None
            })
        });
        self
    }

    /// Asks its telemetry.
    pub fn get(&self, path: &str) -> (u16, String) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let url = format!("http://{}{path}", self.telemetry);
        runtime.block_on(async {
            let answer = reqwest::get(url).await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        })
    }

    /// Where its admin API is served.
    pub fn admin(&self) -> SocketAddr {
        eventually("the admin API is served", || address_in(&self.log, "the admin API is served"))
    }

    /// The token that it has printed for the set-up.
    pub fn set_up_token(&self) -> String {
        eventually("the token is printed", || {
            let log = self.log();
            let line = log.lines().find(|line| line.starts_with("set-up token"))?;
            line.rsplit(' ').next().map(str::to_owned)
        })
    }

    /// The sum of a metric's series whose labels contain that text.
    pub fn metric(&self, name: &str, labels: &str) -> f64 {
        let (_, text) = self.get("/metrics");
        text.lines()
            .filter(|line| line.starts_with(name) && line.contains(labels))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// The memory that it has in RAM now, in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// How it has ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Stops it in order.
    pub fn stop(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        let status =
            within(STOP_TIME, "the service has stopped", || self.child.try_wait().unwrap());
        assert!(status.success(), "{status}:\n{}", self.log());
        status
    }

    /// Asks it to stop in order, and does not wait.
    pub fn ask_to_stop(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Waits until it has ended by itself.
    pub fn end(mut self) -> ExitStatus {
        within(STOP_TIME, "the service has ended", || self.ended())
    }

    /// Kills it as a crash would.
    pub fn crash(mut self) {
        self.signal(Signal::SIGKILL);
        self.child.wait().unwrap();
    }

    /// Stands still as if its machine were suspended.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Goes on.
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).unwrap();
    }
}

/// A test that fails shows what the service said last.
impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking()
            && let Ok(log) = fs::read_to_string(&self.log)
        {
            let lines: Vec<_> = log.lines().collect();
            eprintln!(
                "its log ends:\n{}",
                lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
            );
        }
    }
}

fn address_in(log: &Path, what: &str) -> Option<SocketAddr> {
    let text = fs::read_to_string(log).ok()?;
    let line = text.lines().find(|line| line.contains(what))?;
    let record: serde_json::Value = serde_json::from_str(line).ok()?;
    record["fields"]["address"].as_str()?.parse().ok()
}
