//! Webhooks over HTTPS: everything that leaves for a receiver goes through here.
//!
//! [`client::Client`] is the one seam, `Request` → `AttemptResult`; the driver's attempts call it.
//! Below it lie the pool of idle links, the link itself (one open HTTP/1.1 connection), what it
//! speaks, and [`dialer::Dialer`], the only place in the program that opens an outward socket to a receiver.
//! Nothing here decides what an answer means or what is done next; that is the engine's.
//!
//! A *link* is a TCP connection with TLS on it; *connection* always means who wants the events.

pub mod answer;
pub mod client;
pub mod dialer;
mod http1;
mod link;
mod pool;
pub mod resolver;
#[cfg(test)]
mod scripted;
pub mod tls;

use std::path::PathBuf;

/// What stops the webhook client from being built; attempts fail with data, never with this.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The file of additional authorities cannot be read as PEM.
    #[error("egress.ca_file {} cannot be read: {source}", path.display())]
    CaFile {
        /// The configured path.
        path: PathBuf,
        /// Why not.
        source: rustls::pki_types::pem::Error,
    },
    /// The file of additional authorities holds no certificate.
    #[error("egress.ca_file {} holds no certificate", path.display())]
    NoCertificate {
        /// The configured path.
        path: PathBuf,
    },
    /// The TLS library refuses a certificate or its own set-up.
    #[error("TLS for egress cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}
