//! The instances: the built program, running `serve`.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::observation::{Millis, now};

/// A fact may take so long on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// A stop takes as long as the grace, and the last commits and the leave behind it.
const STOP: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(50);

/// One running instance. Killed when it is dropped.
#[derive(Debug)]
pub struct Instance {
    child: Child,
    log: PathBuf,
}

/// How instances are started.
#[derive(Debug)]
pub struct Fleet {
    pub program: PathBuf,
    pub folder: PathBuf,
    pub plant: Option<String>,
    pub instances: Vec<Option<Instance>>,
    started: u32,
    /// When instances were found dead of librdkafka's own crash; nobody has been told yet.
    pub crashes: Vec<Millis>,
}

impl Fleet {
    pub fn new(program: PathBuf, folder: PathBuf, plant: Option<String>, size: usize) -> Self {
        let instances = (0..size).map(|_| None).collect();
        Self { program, folder, plant, instances, started: 0, crashes: Vec::new() }
    }

    pub fn config(&self) -> PathBuf {
        self.folder.join("barnabas.toml")
    }

    /// Starts an instance. All but the last are static members: a killed one that is back takes its partitions up at
    /// once. The last comes and goes as a stranger, and every time partitions move.
    ///
    /// `point` is where it is to kill itself, if anywhere.
    pub fn start(&mut self, place: usize, point: Option<&str>) -> Result<(), String> {
        self.started += 1;
        let log = self.folder.join(format!("serve-{:04}.log", self.started));
        let file = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        // It ends with the harness, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(&self.program);
        command.args(["serve", "--config"]).arg(self.config());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        if place + 1 < self.instances.len() {
            command.env("BARNABAS_KAFKA__GROUP_INSTANCE_ID", format!("member-{place}"));
        }
        let points: Vec<&str> = point.into_iter().chain(self.plant.as_deref()).collect();
        if !points.is_empty() {
            command.env("BARNABAS_FAILPOINTS", points.join(","));
        }
        let child = command.spawn().map_err(|error| format!("{:?}: {error}", self.program))?;
        self.instances[place] = Some(Instance { child, log });
        Ok(())
    }

    /// Waits until an instance is ready. One that ends on the way is named with its log.
    pub fn wait_until_ready(&mut self, place: usize) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        loop {
            let instance = self.instance(place)?;
            if instance.readiness() == Some(true) {
                return Ok(());
            }
            if instance.died_in_librdkafka() {
                self.crashes.push(now());
                self.start(place, None)?;
                continue;
            }
            if instance.has_ended() {
                let status = instance.child.try_wait().ok().flatten();
                let words = instance.last_words();
                return Err(format!("instance {place} ended ({status:?}):\n{words}"));
            }
            if Instant::now() > end {
                return Err(format!("instance {place} is not ready:\n{}", instance.last_words()));
            }
            thread::sleep(LOOK);
        }
    }

    /// Starts those anew that librdkafka has crashed, as whoever runs a service would.
    pub fn heal(&mut self) -> Result<(), String> {
        for place in 0..self.instances.len() {
            if self.instances[place].as_mut().is_some_and(Instance::died_in_librdkafka) {
                self.wait_until_ready(place)?;
            }
        }
        Ok(())
    }

    pub fn instance(&mut self, place: usize) -> Result<&mut Instance, String> {
        self.instances[place].as_mut().ok_or_else(|| format!("instance {place} is not there"))
    }

    /// `kill -9`. Answers whether it was still alive.
    pub fn kill(&mut self, place: usize) -> bool {
        let Some(mut instance) = self.instances[place].take() else { return false };
        let was_alive = !instance.has_ended();
        let _ = instance.child.kill();
        let _ = instance.child.wait();
        was_alive
    }

    /// SIGTERM, and waits for its end in order.
    pub fn stop(&mut self, place: usize) -> Result<(), String> {
        let Some(mut instance) = self.instances[place].take() else { return Ok(()) };
        instance.signal(Signal::SIGTERM)?;
        let end = Instant::now() + STOP;
        loop {
            match instance.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                // Told before it listened: it had begun nothing.
                Ok(Some(status)) if status.signal().is_some() && !instance.has_begun() => {
                    return Ok(());
                }
                Ok(Some(status)) => {
                    return Err(format!(
                        "a clean stop ended with {status}:\n{}",
                        instance.last_words()
                    ));
                }
                Ok(None) if Instant::now() > end => {
                    return Err(format!("a clean stop took too long:\n{}", instance.last_words()));
                }
                Ok(None) | Err(_) => thread::sleep(LOOK),
            }
        }
    }

    /// The sum of a line's number of times in all logs.
    pub fn count_in_logs(&self, text: &str) -> u64 {
        let files = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        files
            .map(|file| file.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .map(|path| count_in(&path, text))
            .sum()
    }
}

impl Instance {
    pub fn signal(&self, signal: Signal) -> Result<(), String> {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).map_err(|error| format!("{signal}: {error}"))
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// Librdkafka 2.12 reads beyond its memory when a broker that comes back names no leader (its issue 5280), and says
    /// nothing before. Nothing of ours can keep it from that, and no code of ours can do the same, because it forbids
    /// `unsafe`; what is open is repeated, as after a kill.
    fn died_in_librdkafka(&mut self) -> bool {
        let status = self.child.try_wait().ok().flatten();
        let signal = status.and_then(|status| status.signal());
        let by_memory = [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGABRT];
        by_memory.iter().any(|by| signal == Some(*by as i32)) && !self.log().contains("panicked at")
    }

    /// What `/readyz` says; `None` while it cannot be asked.
    pub fn readiness(&self) -> Option<bool> {
        let address = address_in(&self.log)?;
        let agent = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        agent.block_on(async {
            let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).build().ok()?;
            let answer = client.get(format!("http://{address}/readyz")).send().await.ok()?;
            Some(answer.status().is_success())
        })
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn has_begun(&self) -> bool {
        self.log().contains("telemetry is served")
    }

    fn last_words(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn address_in(log: &Path) -> Option<SocketAddr> {
    let text = fs::read_to_string(log).ok()?;
    let line = text.lines().find(|line| line.contains("telemetry is served"))?;
    let record: serde_json::Value = serde_json::from_str(line).ok()?;
    record["fields"]["address"].as_str()?.parse().ok()
}

fn count_in(path: &Path, text: &str) -> u64 {
    let log = fs::read_to_string(path).unwrap_or_default();
    log.lines().filter(|line| line.contains(text)).count() as u64
}
