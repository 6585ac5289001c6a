//! What is kept of an answer for people: its headers and the beginning of its body.
//!
//! Kept only where it was asked for: an attempt that nobody looks at costs nothing here. It holds what the endpoint
//! sent, as it came; whoever shows or stores it takes secrets out first.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

/// What is kept of a body.
pub const KEPT_BODY_BYTES: usize = 4096;

/// Of which answers something is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Of none.
    Nothing,
    /// Of those that are no 2xx.
    Failures,
    /// Of each.
    Everything,
}

impl Keep {
    pub(super) const fn wants(self, status: http::StatusCode) -> bool {
        match self {
            Self::Nothing => false,
            Self::Failures => !matches!(status.as_u16(), 200..=299),
            Self::Everything => true,
        }
    }
}

/// An answer's headers and the beginning of its body.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// As they came.
    pub headers: HeaderMap,
    /// Its first [`KEPT_BODY_BYTES`].
    pub body: Bytes,
    /// Whether there was more of it.
    pub is_cut: bool,
}

/// An answer in the making.
#[derive(Debug)]
pub(super) struct Keeper {
    headers: HeaderMap,
    body: BytesMut,
    is_cut: bool,
}

impl Keeper {
    pub(super) fn new(headers: HeaderMap) -> Self {
        Self { headers, body: BytesMut::new(), is_cut: false }
    }

    /// Takes in what there is still room for.
    pub(super) fn take(&mut self, data: &[u8]) {
        let room = KEPT_BODY_BYTES - self.body.len();
        self.is_cut |= data.len() > room;
        self.body.extend_from_slice(&data[..data.len().min(room)]);
    }

    pub(super) fn end(self) -> Answer {
        Answer { headers: self.headers, body: self.body.freeze(), is_cut: self.is_cut }
    }
}
