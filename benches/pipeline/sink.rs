//! The sink: a process of its own that answers every request over TLS, and is asked by lines.
//!
//! How it answers stands in the path: `/<milliseconds>/…` answers 200 after that time, `/hang/…` never.

pub mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::service::Helper;

/// The hidden argument by which this program is the sink.
pub const ROLE: &str = "--be-the-sink";

/// The authority's certificate, in the sink's folder.
pub const CA_FILE: &str = "ca.pem";

/// Addresses that all lead to the sink, so that endpoints can be on different hosts: 127.0.1.1 to 127.0.1.200.
pub const HOSTS: u8 = 200;

#[derive(Debug)]
pub struct Sink {
    helper: Helper,
    pub port: u16,
    folder: PathBuf,
}

/// One request that was watched.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// The event's number.
    pub number: u64,
    /// Microseconds of the wall clock.
    pub at: u64,
}

impl Sink {
    pub fn start(folder: &Path) -> Result<Self, String> {
        let helper = Helper::start(&[ROLE, &folder.to_string_lossy()])?;
        let port = helper.line()?;
        let port = port.parse().map_err(|_| format!("the sink said {port:?}"))?;
        Ok(Self { helper, port, folder: folder.to_owned() })
    }

    pub fn ca_file(&self) -> PathBuf {
        self.folder.join(CA_FILE)
    }

    /// A URL of that behaviour on the host of that number.
    pub fn url(&self, host: u64, behaviour: &str, name: &str) -> String {
        format!("https://127.0.1.{}:{}/{behaviour}/{name}", host % u64::from(HOSTS) + 1, self.port)
    }

    /// How many requests have come in so far.
    pub fn count(&self) -> Result<u64, String> {
        let count = self.helper.ask("count")?;
        count.parse().map_err(|_| format!("the sink said {count:?}"))
    }

    /// Waits until so many requests have come in.
    pub fn wait_for(&self, count: u64, time: Duration) -> Result<(), String> {
        let end = Instant::now() + time;
        loop {
            let now = self.count()?;
            if now >= count {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(format!("{now} of {count} requests within {time:?}"));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// From now on the time of each request is kept; what was kept before is gone.
    pub fn watch(&self) -> Result<(), String> {
        self.helper.ask("watch").map(|_| ())
    }

    /// What was kept since then; nothing is kept from now on.
    pub fn arrivals(&self) -> Result<Vec<Arrival>, String> {
        let path = self.folder.join("arrivals");
        self.helper.ask(&format!("dump {}", path.display()))?;
        let pairs = pairs(&fs::read(&path).map_err(|error| error.to_string())?);
        Ok(pairs.into_iter().map(|(number, at)| Arrival { number, at }).collect())
    }

    /// The last request but its timestamps, as it came.
    pub fn sample(&self) -> Result<String, String> {
        let text = self.helper.ask("sample")?;
        serde_json::from_str(&text).map_err(|error| format!("the sink's sample: {error}"))
    }
}

/// A file of pairs of numbers, as the sink and the load generator write them.
pub fn pairs(bytes: &[u8]) -> Vec<(u64, u64)> {
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap_or_default());
    bytes.chunks_exact(16).map(|pair| (number(&pair[..8]), number(&pair[8..]))).collect()
}
