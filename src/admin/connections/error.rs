//! Why a change of a connection was refused, for people; never a secret.

use crate::admin::tokens::TokensError;
use crate::engine::connection::Fault;
use crate::kafka::editor::WriteError;
use crate::secrets::SealError;

/// Why a change was refused.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The connections are not read yet.
    #[error("the connections are being read; try again in a moment")]
    Starting,
    /// There is no such connection.
    #[error("the project has no such connection")]
    NotFound,
    /// Fields break rules.
    #[error("some fields cannot be accepted")]
    Invalid(Vec<Fault>),
    /// Another connection of the project has that name.
    #[error("the connection {0} of this project has this name already; choose another")]
    NameTaken(Box<str>),
    /// It was changed since it was read.
    #[error("the connection was changed meanwhile: it has revision {0} now; read it again")]
    Stale(u64),
    /// Its record cannot be read, so only the whole can be written anew.
    #[error(
        "the connection's record cannot be read; write the whole connection anew, with its secret"
    )]
    Unreadable,
    /// A secret would stand in clear text where the operator does not want that.
    #[error(
        "secrets cannot be stored: no keyring is configured (secrets.keyring_file) and \
         connections.plaintext_secrets is reject"
    )]
    NoKeyring,
    /// A secret could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// Other instances write all the time.
    #[error("other instances are writing; nothing was changed; try again")]
    Busy,
    /// It could not be written, nor its audit record.
    #[error(
        "nothing was changed, because neither the change nor its audit record could be written: {0}"
    )]
    Unwritten(String),
    /// It may have been written.
    #[error(
        "it is not known whether the change was written; read the connection before you try again: {0}"
    )]
    Unknown(String),
    /// No random numbers.
    #[error(transparent)]
    Random(#[from] TokensError),
}

impl From<WriteError> for ChangeError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Fenced => Self::Busy,
            WriteError::Unwritten(reason) => Self::Unwritten(reason),
            WriteError::Unknown(reason) => Self::Unknown(reason),
        }
    }
}
