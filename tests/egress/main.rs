//! The egress guard as it is in production, in a network of its own: good receivers on public addresses, honeypots on
//! all others, and a name server that lies. No honeypot may ever be connected to.

#![allow(missing_docs, unreachable_pub, missing_debug_implementations, reason = "it has no users")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

mod attempts;
mod limits;
mod names;
mod namespace;
mod network;
mod service;
