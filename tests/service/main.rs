//! The service as its users meet it: the built program against a real Apache Kafka and a real TLS receiver.

#![allow(missing_docs, unreachable_pub, missing_debug_implementations, reason = "it has no users")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

mod admin;
mod attempts;
mod browser;
mod canary;
mod commits;
mod compose;
mod console;
mod dead_letters;
mod insight;
mod isolation;
mod logs;
mod observe;
mod outage;
mod pages;
mod pipeline;
mod prompt;
mod rebalance;
mod refusals;
mod restart;
mod retry;
mod rights;
mod roles;
mod rolling;
mod secrets;
mod setup;
mod support;
mod traces;
