//! The load generator: a process of its own that writes numbered events.

pub mod generator;

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::service::Helper;
use crate::sink::pairs;
use crate::world::World;

/// The hidden argument by which this program is the load generator.
pub const ROLE: &str = "--be-the-load";

/// Events to write.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    pub topic: String,
    /// The first event's number; each is its event's profile.
    pub first: u64,
    pub count: u64,
    /// Events a second; 0 for as fast as possible.
    pub rate: u64,
    /// Milliseconds for which the producer gathers records before it sends them.
    pub linger_ms: u32,
    /// The events take turns among the projects `p<first>` to `p<first + projects - 1>`.
    pub first_project: u64,
    pub projects: u64,
    pub event: String,
    /// How old the records say they are, in seconds.
    pub age: u64,
    /// Where to write when each was acknowledged.
    pub acknowledged: Option<PathBuf>,
}

#[derive(Debug)]
pub struct Load {
    helper: Helper,
    folder: PathBuf,
}

impl Load {
    pub fn start(world: &World) -> Result<Self, String> {
        let helper = Helper::start(&[ROLE, &world.broker.bootstrap])?;
        Ok(Self { helper, folder: world.folder.path().to_owned() })
    }

    /// Writes them, and waits until all are acknowledged.
    pub fn write(&self, order: &Order) -> Result<(), String> {
        self.begin(order)?;
        self.end()
    }

    /// Begins to write them.
    pub fn begin(&self, order: &Order) -> Result<(), String> {
        let order = serde_json::to_string(order).map_err(|error| error.to_string())?;
        self.helper.tell(&order)
    }

    /// Waits until all are acknowledged.
    pub fn end(&self) -> Result<(), String> {
        match self.helper.line()?.as_str() {
            "" => Ok(()),
            error => Err(format!("the load generator: {error}")),
        }
    }

    /// Begins to write them, and keeps when each was acknowledged.
    pub fn begin_noting(&self, order: &Order) -> Result<(), String> {
        self.begin(&Order { acknowledged: Some(self.notes()), ..order.clone() })
    }

    /// When each event of the last order was acknowledged: its number, microseconds of the wall clock.
    pub fn acknowledged(&self) -> Result<Vec<(u64, u64)>, String> {
        fs::read(self.notes()).map(|bytes| pairs(&bytes)).map_err(|error| error.to_string())
    }

    fn notes(&self) -> PathBuf {
        self.folder.join(format!("acknowledged-{}", self.helper.pid()))
    }
}
