//! What `/proc` says of a process.

use std::fs;

/// The kernel counts a process's CPU in hundredths of a second, on every architecture.
const MICROS_PER_TICK: f64 = 10_000.0;

/// CPU that a process has used, user and system, all its threads, in microseconds.
pub fn cpu_micros(pid: u32) -> Result<f64, String> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    // The name, in brackets, may hold anything; utime and stime are the 12th and 13th field behind it.
    let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse().ok());
    let ticks: Vec<f64> = ticks.collect();
    if ticks.len() != 2 {
        return Err(format!("{path} cannot be read"));
    }
    Ok(ticks.iter().sum::<f64>() * MICROS_PER_TICK)
}

/// Whether it has ended and only waits for its parent to look.
pub fn has_ended(pid: u32) -> bool {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    text.rsplit_once(')').is_none_or(|(_, fields)| fields.trim_start().starts_with('Z'))
}

/// Memory in RAM, in bytes: now, and the most so far.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    pub now: f64,
    pub most: f64,
}

pub fn memory(pid: u32) -> Result<Memory, String> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
        kib.map(|kib| kib * 1024.0).ok_or_else(|| format!("{path} has no {name}"))
    };
    Ok(Memory { now: field("VmRSS:")?, most: field("VmHWM:")? })
}
