//! The instances: the built program, running `serve`.

use std::cell::OnceCell;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::logs::Logs;
use crate::observation::{Millis, now};

/// A fact may take so long on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// A stop takes as long as the grace, and the last commits and the leave behind it.
const STOP: Duration = Duration::from_secs(90);
/// What an instance says at its end whom the group does not want.
const PUT_OUT: &str = "the group has put this member out: ";
const LOOK: Duration = Duration::from_millis(50);

/// One running instance. Killed when it is dropped.
#[derive(Debug)]
pub struct Instance {
    child: Child,
    log: PathBuf,
    address: OnceCell<SocketAddr>,
}

/// How instances are started.
#[derive(Debug)]
pub struct Fleet {
    pub program: PathBuf,
    pub folder: PathBuf,
    pub plant: Option<String>,
    pub instances: Vec<Option<Instance>>,
    pub logs: Logs,
    /// Told to stop, and not yet seen to have ended.
    leaving: Vec<Instance>,
    started: u32,
    /// When instances were found dead of librdkafka's own crash; nobody has been told yet.
    pub crashes: Vec<Millis>,
}

impl Fleet {
    pub fn new(program: PathBuf, folder: PathBuf, plant: Option<String>, size: usize) -> Self {
        let instances = (0..size).map(|_| None).collect();
        let logs = Logs::new(folder.clone());
        let (leaving, crashes) = (Vec::new(), Vec::new());
        Self { program, folder, plant, instances, logs, leaving, started: 0, crashes }
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
        self.instances[place] = Some(Instance { child, log, address: OnceCell::new() });
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
            if instance.died_of_librdkafka() {
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
            if self.instances[place].as_mut().is_some_and(Instance::died_of_librdkafka) {
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
        self.send_away(place)?;
        self.see_off()
    }

    /// SIGTERM; nobody waits for its end, and another may take its place at once.
    pub fn send_away(&mut self, place: usize) -> Result<(), String> {
        let Some(instance) = self.instances[place].take() else { return Ok(()) };
        instance.signal(Signal::SIGTERM)?;
        self.leaving.push(instance);
        Ok(())
    }

    /// Waits until all that were sent away have ended in order.
    pub fn see_off(&mut self) -> Result<(), String> {
        let end = Instant::now() + STOP;
        self.leaving.drain(..).try_for_each(|mut instance| instance.end_in_order(end))
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
    ///
    /// And it gives a static member up for good whose own commit overtook its return to the group; the service survives
    /// that once in a while, but not as often as brokers go away here.
    fn died_of_librdkafka(&mut self) -> bool {
        let status = self.child.try_wait().ok().flatten();
        if status.is_some_and(|status| !status.success()) && self.log().contains(PUT_OUT) {
            return true;
        }
        let signal = status.and_then(|status| status.signal());
        let by_memory = [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGABRT];
        by_memory.iter().any(|by| signal == Some(*by as i32)) && !self.log().contains("panicked at")
    }

    fn end_in_order(&mut self, by: Instant) -> Result<(), String> {
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                // Told before it listened: it had begun nothing.
                Ok(Some(status)) if status.signal().is_some() && !self.has_begun() => {
                    return Ok(());
                }
                Ok(Some(status)) => {
                    let words = self.last_words();
                    return Err(format!("a clean stop ended with {status}:\n{words}"));
                }
                Ok(None) if Instant::now() > by => {
                    return Err(format!("a clean stop took too long:\n{}", self.last_words()));
                }
                Ok(None) | Err(_) => thread::sleep(LOOK),
            }
        }
    }

    /// What `/readyz` says; `None` while it cannot be asked.
    pub fn readiness(&self) -> Option<bool> {
        let address = self.address()?;
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

    fn address(&self) -> Option<SocketAddr> {
        if let Some(address) = self.address.get() {
            return Some(*address);
        }
        let address = address_in(&self.log())?;
        Some(*self.address.get_or_init(|| address))
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

fn address_in(log: &str) -> Option<SocketAddr> {
    let line = log.lines().find(|line| line.contains("telemetry is served"))?;
    let record: serde_json::Value = serde_json::from_str(line).ok()?;
    record["fields"]["address"].as_str()?.parse().ok()
}
