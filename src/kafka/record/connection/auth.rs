//! Reads the credentials of a connection's record.
//!
//! `auth` is a union that is told apart by its `type`: a further kind is a further arm here and a variant of
//! [`Auth`]. A fault names the field and the rule, never the value.

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Faults, PlaintextSecrets, required, seconds};
use crate::engine::connection::Auth;
use crate::engine::time::Timestamp;
use crate::kafka::record::{Object, excerpt, text};
use crate::secrets::{Binding, Envelope, Keyring};

/// The contract's bounds, in characters.
const MAX_USERNAME: usize = 255;
const MAX_PASSWORD: usize = 1024;
const MAX_TOKEN: usize = 4096;

/// How the secrets of one record are read.
pub(super) struct Secrets<'a> {
    /// Whether they may be plain strings.
    pub(super) plaintext: PlaintextSecrets,
    /// Opens sealed ones.
    pub(super) keyring: Option<&'a Keyring>,
    /// Where they belong; `None` where the record's URL leads nowhere.
    pub(super) binding: Option<Binding<'a>>,
}

/// Reads what stands under `auth`, and notes everything that is wrong with it; and when its secret was entered.
pub(super) fn check(
    raw: Option<&RawValue>,
    secrets: &Secrets<'_>,
    faults: &mut Faults,
) -> (Option<Auth>, Option<Timestamp>) {
    if raw.is_none() {
        faults.note("auth", "is missing");
    }
    match faults.object::<Fields<'_>>("auth", raw) {
        Some(fields) => (auth(&fields, secrets, faults), fields.secret_set_at.and_then(seconds)),
        None => (None, None),
    }
}

fn auth(fields: &Fields<'_>, secrets: &Secrets<'_>, faults: &mut Faults) -> Option<Auth> {
    let kind = faults.keep("auth.type", required(fields.kind))?;
    match &*kind {
        "basic" => {
            let username = faults.keep("auth.username", username(fields.username));
            let password = secrets.read("auth.password", fields.password, password, faults);
            Some(Auth::Basic { username: username?, password: password? })
        }
        "bearer" => {
            let token = secrets.read("auth.token", fields.token, token, faults);
            Some(Auth::Bearer { token: token? })
        }
        "none" | "signed" | "oauth2" => {
            faults.note("auth.type", format!("`{kind}` is not supported by this version yet"));
            None
        }
        other => {
            let fault = format!("`{}` is not known: write basic or bearer", excerpt(other));
            faults.note("auth.type", fault);
            None
        }
    }
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    username: Option<&'a RawValue>,
    #[serde(borrow)]
    password: Option<&'a RawValue>,
    #[serde(borrow)]
    token: Option<&'a RawValue>,
    #[serde(borrow)]
    secret_set_at: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Sealed<'a> {
    #[serde(borrow)]
    sealed: &'a RawValue,
}

impl Secrets<'_> {
    /// The secret itself, from a plain string or from `{"sealed": …}`, if it keeps its field's `rule`.
    fn read(
        &self,
        field: &str,
        raw: Option<&RawValue>,
        rule: impl Fn(SecretString) -> Result<SecretString, String>,
        faults: &mut Faults,
    ) -> Option<SecretString> {
        let Some(raw) = raw else {
            faults.note(field, "is missing");
            return None;
        };
        let secret = match serde_json::from_str::<Object<Sealed<'_>>>(raw.get()) {
            Ok(Object(Sealed { sealed })) => {
                let opened = self.open(sealed);
                faults.waits_for_key |= opened.is_err();
                opened
            }
            Err(_) => self.plain(raw),
        };
        faults.keep(field, secret.and_then(rule))
    }

    fn open(&self, sealed: &RawValue) -> Result<SecretString, String> {
        let sealed = text(sealed).ok_or("must be {\"sealed\": \"v1...\"}")?;
        let Some(keyring) = self.keyring else {
            let envelope = Envelope::parse(&sealed).map_err(|error| error.to_string())?;
            let key = envelope.key();
            return Err(format!(
                "is sealed with the key {key}, and secrets.keyring_file is not set"
            ));
        };
        let binding = self.binding.ok_or("is sealed for a url, and the record has no valid one")?;
        keyring.open(&binding, &sealed).map_err(|error| error.to_string())
    }

    fn plain(&self, raw: &RawValue) -> Result<SecretString, String> {
        let plain = text(raw).ok_or("must be a text or {\"sealed\": \"...\"}")?;
        match self.plaintext {
            PlaintextSecrets::Accept => Ok(plain.into_owned().into()),
            PlaintextSecrets::Reject => {
                Err("must be sealed: connections.plaintext_secrets is reject".to_owned())
            }
        }
    }
}

fn username(raw: Option<&RawValue>) -> Result<Box<str>, String> {
    let username = required(raw)?;
    let is_username = (1..=MAX_USERNAME).contains(&username.chars().count())
        && !username.chars().any(|char| char == ':' || char.is_control());
    if is_username {
        return Ok(username.into());
    }
    Err(format!("must have 1-{MAX_USERNAME} characters, without `:` and control characters"))
}

fn password(password: SecretString) -> Result<SecretString, String> {
    if (1..=MAX_PASSWORD).contains(&password.expose_secret().chars().count()) {
        return Ok(password);
    }
    Err(format!("must have 1-{MAX_PASSWORD} characters"))
}

fn token(token: SecretString) -> Result<SecretString, String> {
    let text = token.expose_secret();
    let is_token =
        (1..=MAX_TOKEN).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_token {
        return Ok(token);
    }
    Err(format!("must have 1-{MAX_TOKEN} characters of visible ASCII"))
}
