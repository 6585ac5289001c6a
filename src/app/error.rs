//! Why the service cannot start, or does not go on: in one line, with what to look at.

use std::net::SocketAddr;

use rdkafka::error::KafkaError;

use crate::admin::tokens::TokensError;
use crate::engine::retry::RetryConfigError;
use crate::kafka::topics::TopicsError;
use crate::secrets::file::KeyringError;
use crate::webhook::WebhookError;

/// Why the service cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The topics are not there, or could lose data, or cannot be looked at.
    #[error(transparent)]
    Topics(#[from] TopicsError),
    /// Librdkafka refused a client.
    #[error("the Kafka client cannot start: {0}")]
    Kafka(#[from] KafkaError),
    /// The address for telemetry cannot be listened on.
    #[error("telemetry.listen = {address}: {source}; is it in use?")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The address for the admin API cannot be listened on.
    #[error("admin.listen = {address}: {source}; is it in use? (empty: it is not served)")]
    ListenAdmin {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The tokens cannot be used.
    #[error("admin.tokens_file: {0}")]
    Tokens(#[from] TokensError),
    /// The retry schedule cannot be used.
    #[error("the retry schedule: {0}")]
    Retry(#[from] RetryConfigError),
    /// The catalog cannot be used.
    #[error("the catalog: {0}")]
    Catalog(String),
    /// The keyring cannot be used.
    #[error("secrets.keyring_file: {0}")]
    Keyring(#[from] KeyringError),
    /// The TLS settings cannot be used.
    #[error(transparent)]
    Webhook(#[from] WebhookError),
    /// A thread or a runtime cannot be started.
    #[error("a thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
    /// The metrics could not be registered.
    #[error("the metrics cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    /// A part ended unasked.
    #[error("{part} ended: {reason}")]
    Ended {
        /// Which.
        part: &'static str,
        /// Why.
        reason: String,
    },
}
