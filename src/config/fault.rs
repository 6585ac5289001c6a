//! What is wrong with a configuration, all at once and in one shape.
//!
//! Words and orders faults; never finds them. Every part of [`super::Config`]'s loading makes
//! [`Fault`]s, commands print the [`FaultReport`].

use std::fmt;

use serde::Serialize;

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The key, such as `delivery.burst`; empty where it is about a whole file.
    pub key: String,
    /// The value as it was given, without secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The file or the environment variable that it came from; none for a default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// What is wrong.
    pub what: String,
    /// What to do, where that is not said already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Fault {
    /// A fault of a key, to be completed with where it came from.
    pub(super) fn new(key: impl Into<String>, what: impl Into<String>) -> Self {
        Self { key: key.into(), value: None, origin: None, what: what.into(), mend: None }
    }

    /// With what to do.
    #[must_use]
    pub(super) fn mend(mut self, mend: impl Into<String>) -> Self {
        self.mend = Some(mend.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        if let Some(value) = &self.value {
            write!(f, " = {value}")?;
        }
        match &self.origin {
            Some(origin) if self.key.is_empty() => f.write_str(origin)?,
            Some(origin) => write!(f, " ({origin})")?,
            None => {}
        }
        write!(f, ": {}", self.what)?;
        match &self.mend {
            Some(mend) => write!(f, "; {mend}"),
            None => Ok(()),
        }
    }
}

/// Every fault of a configuration, in the order of the keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct FaultReport {
    faults: Vec<Fault>,
}

impl FaultReport {
    /// Orders the faults.
    pub(super) fn new(mut faults: Vec<Fault>) -> Self {
        faults.sort_by(|one, other| (&one.key, &one.what).cmp(&(&other.key, &other.what)));
        Self { faults }
    }

    /// The faults.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }
}

impl fmt::Display for FaultReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.faults.len();
        let faults = if count == 1 { "fault" } else { "faults" };
        write!(f, "the configuration has {count} {faults}:")?;
        self.faults.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

impl std::error::Error for FaultReport {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_one_line_with_key_value_origin_and_what_to_do() {
        let fault = Fault {
            value: Some("0".into()),
            origin: Some("barnabas.toml".into()),
            ..Fault::new("delivery.burst", "out of range").mend("write 1-10000")
        };
        let report = FaultReport::new(vec![Fault::new("z", "last"), fault]);
        assert_eq!(
            report.to_string(),
            "the configuration has 2 faults:\n  \
             delivery.burst = 0 (barnabas.toml): out of range; write 1-10000\n  z: last"
        );
    }
}
