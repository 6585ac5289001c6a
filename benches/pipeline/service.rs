//! The processes of a benchmark: `barnabas serve`, and this program again in one of its roles.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const LOOK: Duration = Duration::from_millis(10);
const STOP: Duration = Duration::from_secs(60);

/// This program in one of its roles: it is told and answers in lines. Ends with its value.
#[derive(Debug)]
pub struct Helper {
    child: Child,
    stdin: RefCell<ChildStdin>,
    stdout: RefCell<BufReader<ChildStdout>>,
}

impl Helper {
    pub fn start(arguments: &[&str]) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (stdin, stdout) = stdin.zip(stdout).ok_or("a helper has no pipes")?;
        Ok(Self { child, stdin: stdin.into(), stdout: BufReader::new(stdout).into() })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn tell(&self, line: &str) -> Result<(), String> {
        writeln!(self.stdin.borrow_mut(), "{line}").map_err(|error| error.to_string())
    }

    pub fn line(&self) -> Result<String, String> {
        let mut line = String::new();
        match self.stdout.borrow_mut().read_line(&mut line) {
            Ok(0) => Err("a helper has ended".to_owned()),
            Ok(_) => Ok(line.trim_end().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    pub fn ask(&self, question: &str) -> Result<String, String> {
        self.tell(question)?;
        self.line()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running `barnabas serve`. Killed when it is dropped.
#[derive(Debug)]
pub struct Service {
    child: Child,
    log: PathBuf,
    pub started: Instant,
}

impl Service {
    /// Starts it.
    pub fn start(program: &Path, config: &Path, log: PathBuf) -> Result<Self, String> {
        let file = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        // It ends with this program, however that ends.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(program)
            .args(["serve", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        Ok(Self { child, log, started: Instant::now() })
    }

    /// Waits until it is ready; answers how long that took from its start.
    pub fn wait_until_ready(&mut self, time: Duration) -> Result<Duration, String> {
        while !self.get("/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200")) {
            if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                return Err(format!("the service has ended:\n{}", self.last_words()));
            }
            if self.started.elapsed() > time {
                return Err(format!("the service is not ready:\n{}", self.last_words()));
            }
            thread::sleep(LOOK);
        }
        Ok(self.started.elapsed())
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The sum of a metric's series whose labels contain that text.
    pub fn metric(&self, name: &str, labels: &str) -> Result<f64, String> {
        let text = self.get("/metrics").ok_or("the metrics cannot be read")?;
        Ok(text
            .lines()
            .filter(|line| line.starts_with(name) && line.contains(labels))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum())
    }

    pub fn signal(&self, signal: Signal) -> Result<(), String> {
        let pid = i32::try_from(self.pid()).map_err(|error| error.to_string())?;
        kill(Pid::from_raw(pid), signal).map_err(|error| format!("{signal}: {error}"))
    }

    /// Stops it in order.
    pub fn stop(mut self) -> Result<(), String> {
        self.signal(Signal::SIGTERM)?;
        let end = Instant::now() + STOP;
        while Instant::now() < end {
            if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                return Ok(());
            }
            thread::sleep(LOOK);
        }
        Err(format!("the service does not stop:\n{}", self.last_words()))
    }

    fn get(&self, path: &str) -> Option<String> {
        let address = self.telemetry()?;
        let mut stream = TcpStream::connect(address).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: barnabas\r\nconnection: close\r\n\r\n")
            .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    fn telemetry(&self) -> Option<SocketAddr> {
        let text = fs::read_to_string(&self.log).ok()?;
        let line = text.lines().find(|line| line.contains("telemetry is served"))?;
        let record: serde_json::Value = serde_json::from_str(line).ok()?;
        record["fields"]["address"].as_str()?.parse().ok()
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
