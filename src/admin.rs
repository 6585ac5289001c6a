//! What people and programs see of the service and do to it, and who may.
//!
//! The service functions (`connections`, and the read models: `attempts`, `dead_letters`, `health` …) know nothing of
//! HTTP; `api` has no power of its own. `access` stands before it and lets through what it knows and nothing else. The
//! read models follow topics as logs, so that every instance shows all; what they say of lanes is this instance's.

pub mod access;
pub mod api;
pub mod attempts;
pub mod audit;
pub mod connections;
mod console;
pub mod dead_letters;
mod filters;
pub mod health;
pub mod pipeline;
pub mod place;
pub mod preview;
pub mod problem;
pub mod read_models;
pub mod server;
pub mod sessions;
pub mod test_send;
pub mod tokens;
