//! The limit: wrk (Debian's package), sending the same request to the same sink.

use std::fs;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::process;
use crate::world::World;

pub const MISSING: &str = "wrk is not installed (Debian's package wrk): no limit to compare with";

/// What wrk has shown.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    pub cpu_us_per_request: f64,
    pub per_second: f64,
}

pub fn is_installed() -> bool {
    Command::new("wrk").arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// Sends a request that the sink has seen over so many kept-alive connections, as fast as possible.
pub fn run(world: &World, request: &str, links: u32, seconds: u64) -> Result<Limit, String> {
    let script = world.folder.path().join("wrk.lua");
    let (head, body) = request.split_once("\r\n\r\n").ok_or("the sample has no head")?;
    let path = head.split(' ').nth(1).unwrap_or("/");
    fs::write(&script, lua(head, body)).map_err(|error| error.to_string())?;
    let mut wrk = Command::new("wrk")
        .args(["-t1", &format!("-c{links}"), &format!("-d{seconds}s"), "-s"])
        .arg(&script)
        .arg(format!("https://127.0.1.1:{}{path}", world.sink.port))
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("wrk: {error}"))?;
    while !process::has_ended(wrk.id()) {
        thread::sleep(Duration::from_millis(20));
    }
    // It has ended and is not waited for: its figures are final and still there.
    let cpu = process::cpu_micros(wrk.id())?;
    let mut text = String::new();
    let mut stdout = wrk.stdout.take().ok_or("wrk has no stdout")?;
    stdout.read_to_string(&mut text).map_err(|error| error.to_string())?;
    let _ = wrk.wait();
    let requests = before(&text, " requests in").ok_or_else(|| format!("wrk said {text}"))?;
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        return Err(format!("wrk was refused: {text}"));
    }
    #[expect(clippy::cast_precision_loss, reason = "seconds")]
    let per_second = requests / seconds as f64;
    Ok(Limit { cpu_us_per_request: cpu / requests, per_second })
}

fn before(text: &str, mark: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.contains(mark))?;
    line.split(mark).next()?.trim().parse().ok()
}

/// The same head and body; the host and the length are wrk's own to add.
fn lua(head: &str, body: &str) -> String {
    let own = ["host", "content-length"];
    let headers: String = head
        .split("\r\n")
        .filter_map(|line| line.split_once(": "))
        .filter(|(name, _)| !own.contains(&name.to_ascii_lowercase().as_str()))
        .map(|(name, value)| format!("wrk.headers[\"{name}\"] = [==[{value}]==]\n"))
        .collect();
    format!("wrk.method = \"POST\"\nwrk.body = [==[{body}]==]\n{headers}")
}
