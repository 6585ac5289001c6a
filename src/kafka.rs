//! Everything that speaks Kafka. Thin: it reads, writes and commits what the engine and the driver decide.

pub mod attempts;
pub mod client;
mod compacted;
pub mod connections;
pub mod consumer;
pub mod editor;
pub mod group;
pub mod log;
mod polled;
pub mod producer;
pub mod record;
pub mod rewrap;
pub mod topics;
mod trouble;
