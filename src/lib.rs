#![doc = include_str!("ARCHITECTURE.md")]

pub mod admin;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod demo;
pub mod driver;
pub mod engine;
pub mod failpoint;
pub mod kafka;
pub mod metrics;
pub mod secrets;
pub mod shutdown;
pub mod telemetry;
pub mod traces;
pub mod webhook;
