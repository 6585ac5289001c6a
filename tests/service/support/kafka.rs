//! A real Apache Kafka: one for the whole run, or one of a test's own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::eventually;

const HOW_TO_GET_ONE: &str = "this test needs a real Apache Kafka: set BARNABAS_TEST_BOOTSTRAP=HOST:PORT, or install \
    Java 17 and Maven for deploy/kafka/run, or start a Docker engine; \
    BARNABAS_TEST_BROKER=embedded skips the tests that need it";

/// The broker of the run; `None` if such tests are to be skipped.
pub fn shared() -> Option<&'static str> {
    static SHARED: OnceLock<Option<String>> = OnceLock::new();
    SHARED.get_or_init(find).as_deref()
}

fn find() -> Option<String> {
    if std::env::var("BARNABAS_TEST_BROKER").is_ok_and(|broker| broker == "embedded") {
        return None;
    }
    let found = match std::env::var("BARNABAS_TEST_BOOTSTRAP") {
        Ok(bootstrap) => bootstrap,
        Err(_) => from_launcher().or_else(from_docker).expect(HOW_TO_GET_ONE),
    };
    // CI looks at this: the tests did not pass by being skipped.
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let marker = target.parent().expect("it lies in the target folder").join("real-kafka");
    fs::write(marker, format!("real Apache Kafka at {found}\n")).unwrap();
    Some(found)
}

fn from_launcher() -> Option<String> {
    let (ready, bootstrap) = sync_channel(1);
    // The child is told to end when the thread that started it ends: so that thread lasts as long as the process.
    thread::spawn(move || {
        let mut broker = Broker::launch(&[]);
        let _ = ready.send(broker.as_mut().map(|broker| broker.bootstrap.clone()));
        loop {
            thread::park();
        }
    });
    bootstrap.recv().ok().flatten()
}

/// The official image, on its standard port.
fn from_docker() -> Option<String> {
    let options = ["run", "--rm", "-d", "-p", "9092:9092", "apache/kafka:4.1.0"];
    let started = Command::new("docker").args(options).output().ok()?.status.success();
    let accepts = || std::net::TcpStream::connect("127.0.0.1:9092").ok();
    started
        .then(|| eventually("the image accepts clients", accepts))
        .map(|_| "127.0.0.1:9092".to_owned())
}

/// A broker of a test's own. Ends with it.
#[derive(Debug)]
pub struct Broker {
    pub bootstrap: String,
    /// Where logins are asked for, if it was started with users.
    pub secure: Option<String>,
    launcher: Child,
}

impl Broker {
    /// Starts one; `None` where such tests are skipped.
    pub fn start(options: &[&str]) -> Option<Self> {
        shared()?;
        Some(Self::launch(options).expect(HOW_TO_GET_ONE))
    }

    fn launch(options: &[&str]) -> Option<Self> {
        let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kafka/run");
        let free_port: &[&str] = if options.contains(&"--port") { &[] } else { &["--port", "0"] };
        let mut launcher = Command::new("setpriv")
            .args(["--pdeathsig", "TERM"])
            .arg(run)
            .args(free_port)
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let lines = lines_of(launcher.stdout.take()?);
        let Ok(line) = lines.recv() else {
            let _ = launcher.wait();
            return None;
        };
        let bootstrap = line.strip_prefix("ready ")?.to_owned();
        let secure = options.contains(&"--users").then(|| lines.recv().ok()).flatten();
        let secure = secure.and_then(|line| Some(line.strip_prefix("secure ")?.to_owned()));
        Some(Self { bootstrap, secure, launcher })
    }

    /// Kills the broker itself, as a crash would, and waits until the launcher has noticed.
    pub fn crash(mut self, folder: &Path) {
        let pid = fs::read_to_string(folder.join("node-1/pid")).unwrap();
        kill(Pid::from_raw(pid.trim().parse().unwrap()), Signal::SIGKILL).unwrap();
        self.launcher.wait().unwrap();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if self.launcher.try_wait().is_ok_and(|ended| ended.is_none()) {
            let pid = i32::try_from(self.launcher.id()).expect("a process id");
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            let _ = self.launcher.wait();
        }
    }
}

fn lines_of(stdout: std::process::ChildStdout) -> Receiver<String> {
    let (sender, lines) = sync_channel(16);
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}
