//! Our headers, read and written by name and type.
//!
//! It knows no name: which there are is the business of [`super`].

use std::borrow::Cow;
use std::fmt::{Display, Write as _};
use std::str::FromStr;

use bytes::BytesMut;

use super::TierRecordError;
use crate::engine::event::Header;
use crate::engine::time::Timestamp;

/// A record's headers, asked for ours.
pub(super) struct Ours<'a>(pub(super) &'a [(&'a str, Option<&'a [u8]>)]);

impl<'a> Ours<'a> {
    /// A header's text. Ours stand behind the original ones, so the last of a name is ours.
    pub(super) fn text(&self, name: &'static str) -> Result<Option<&'a str>, TierRecordError> {
        let found = self.0.iter().rev().find(|(other, _)| *other == name);
        let Some((_, Some(value))) = found else { return Ok(None) };
        std::str::from_utf8(value).map(Some).map_err(|_| TierRecordError::Unreadable(name))
    }

    pub(super) fn required(&self, name: &'static str) -> Result<&'a str, TierRecordError> {
        self.text(name)?.ok_or(TierRecordError::Missing(name))
    }

    pub(super) fn some_number<T: FromStr>(
        &self,
        name: &'static str,
    ) -> Result<Option<T>, TierRecordError> {
        let parsed = self.text(name)?.map(str::parse).transpose();
        parsed.map_err(|_| TierRecordError::Unreadable(name))
    }

    pub(super) fn number<T: FromStr>(&self, name: &'static str) -> Result<T, TierRecordError> {
        self.some_number(name)?.ok_or(TierRecordError::Missing(name))
    }

    /// A time, written in milliseconds.
    pub(super) fn time(&self, name: &'static str) -> Result<Option<Timestamp>, TierRecordError> {
        Ok(self.some_number(name)?.map(Timestamp::from_millis))
    }
}

/// Of ours there are at most so many, and so many bytes of values, in all but odd cases.
const USUAL_COUNT: usize = 16;
const USUAL_BYTES: usize = 256;

/// Headers in the making: the original ones, and ours behind them.
pub(super) struct Writer {
    originals: Vec<Header>,
    ours: Vec<Header>,
    /// All our values stand in one piece of memory.
    values: BytesMut,
}

impl Writer {
    pub(super) fn after(originals: &[Header]) -> Self {
        Self {
            originals: originals.to_vec(),
            ours: Vec::with_capacity(USUAL_COUNT),
            values: BytesMut::with_capacity(USUAL_BYTES),
        }
    }

    /// Writes a header of ours, each once, in place of any original of its name: a rejected record from a tier has old ones.
    pub(super) fn put(&mut self, name: &'static str, value: impl Display) {
        self.originals.retain(|(other, _)| other != name);
        write!(self.values, "{value}").expect("memory takes all that is written");
        self.ours.push((Cow::Borrowed(name), Some(self.values.split().freeze())));
    }

    pub(super) fn put_some(&mut self, name: &'static str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }

    pub(super) fn end(mut self) -> Vec<Header> {
        self.originals.append(&mut self.ours);
        self.originals
    }
}
