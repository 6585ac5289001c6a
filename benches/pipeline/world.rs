//! What all benchmarks of a run share: the broker, the sink, a folder.

use std::cell::Cell;

use tempfile::TempDir;

use crate::broker::Broker;
use crate::options::Options;
use crate::sink::Sink;

#[derive(Debug)]
pub struct World {
    pub options: Options,
    pub broker: Broker,
    pub sink: Sink,
    pub folder: TempDir,
    stages: Cell<u32>,
}

impl World {
    pub fn build(options: Options) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let sink = Sink::start(folder.path())?;
        let broker = Broker::start()?;
        Ok(Self { options, broker, sink, folder, stages: Cell::new(0) })
    }

    /// A number that no other stage has.
    pub fn next_stage(&self) -> u32 {
        self.stages.set(self.stages.get() + 1);
        self.stages.get()
    }
}
