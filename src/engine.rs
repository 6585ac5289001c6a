//! The engine decides. It is pure: no I/O, no clock, no dice, no locks, no async, no order that a hash would choose.
//!
//! Two machines share the work. The [`intake`] belongs to a consumer's thread: it knows what may be read and what may
//! be committed. The [`dispatcher`] belongs to a delivery shard: it knows whose turn it is and what an answer means.
//! Both are told what happened and when, and answer what is to be done; the edges above do it.

#![warn(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod address;
pub mod breaker;
pub mod catalog;
pub mod connection;
pub mod delivery;
pub mod dispatcher;
pub mod event;
pub mod gate;
pub mod intake;
pub mod lane;
pub mod offsets;
pub mod outcome;
pub mod payload;
pub mod rate;
pub mod retry;
pub mod scheduler;
pub mod snapshot;
pub mod streak;
pub mod table;
pub mod time;

#[cfg(test)]
pub(crate) mod fixtures;
