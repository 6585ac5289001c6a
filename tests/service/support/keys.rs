//! A keyring of a test's own, made and changed by the program.

use std::path::PathBuf;
use std::process::{Command, Output};

use barnabas::secrets::{Binding, Keyring};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::service::PROGRAM;
use super::stage::{PROJECT, Stage};

/// A keyring's file.
pub struct Keys {
    folder: TempDir,
}

impl Keys {
    pub fn new() -> Self {
        let keys = Self { folder: tempfile::tempdir().unwrap() };
        keys.change(&["new"]);
        keys
    }

    /// The same keys in a file of its own.
    pub fn copy(&self) -> Self {
        let copy = Self { folder: tempfile::tempdir().unwrap() };
        std::fs::copy(self.path(), copy.path()).unwrap();
        copy
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("keyring.json")
    }

    /// Lines of TOML.
    pub fn settings(&self) -> String {
        format!("[secrets]\nkeyring_file = \"{}\"\n", self.path().display())
    }

    /// Runs `barnabas keyring`.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(PROGRAM);
        command.args(["keyring", "--file"]).arg(self.path()).args(arguments);
        command.output().unwrap()
    }

    /// Runs `barnabas keyring`, which must succeed; its JSON.
    pub fn change(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["-o", "json"]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The key that seals.
    pub fn primary(&self) -> String {
        self.keyring().primary().to_string()
    }

    /// A new key that seals from now on.
    pub fn rotate(&self) -> String {
        let added = self.change(&["add"])["added"].as_str().unwrap().to_owned();
        self.change(&["primary", &added]);
        added
    }

    /// A secret for a connection of the stage, as it stands in a record.
    pub fn seal(&self, stage: &Stage, id: &str, secret: &str) -> Value {
        let url = stage.receiver.url("/");
        let binding = Binding {
            topic: &stage.connections(),
            project: PROJECT,
            connection: id,
            origin: url.trim_end_matches('/'),
        };
        json!({"sealed": self.keyring().seal(&binding, &secret.into()).unwrap()})
    }

    fn keyring(&self) -> Keyring {
        Keyring::read(&self.path()).unwrap()
    }
}
