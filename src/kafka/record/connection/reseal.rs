//! Seals the secret of a connection's record anew, and changes no other byte of it.
//!
//! Looks at the key, the URL and the credentials alone: a record that breaks other rules keeps them and is sealed all
//! the same. Decides nothing about what is written; the rewrap asks.

use std::ops::Range;

use secrecy::SecretString;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Object, required};
use crate::engine::address::AddressRule;
use crate::engine::connection::ConnectionKey;
use crate::kafka::record::{json_fault, text, whole_number};
use crate::secrets::{Binding, Envelope, KeyId, Keyring};

/// How a record's secret is kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Keeping {
    /// Sealed with that key.
    Sealed(KeyId),
    /// As a plain string.
    Plain,
    /// The record does not say.
    Unknown,
}

/// Whether plain secrets are sealed as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainSecrets {
    /// They stay.
    Leave,
    /// They are sealed.
    Seal,
}

/// What is known of a record's secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secrecy {
    /// How it is kept.
    pub keeping: Keeping,
    /// The record with its secret sealed by the primary key; `None` where that is not needed or not possible.
    pub resealed: Option<Vec<u8>>,
    /// Why it could not be opened or sealed; never a secret.
    pub fault: Option<String>,
}

/// Seals records of one topic with the primary key of a keyring.
#[derive(Debug)]
pub struct Resealer<'a> {
    /// The topic.
    pub topic: &'a str,
    /// Finds the origin of a URL.
    pub rule: &'a AddressRule,
    /// Opens and seals.
    pub keyring: &'a Keyring,
    /// What becomes of plain secrets.
    pub plain: PlainSecrets,
}

impl Resealer<'_> {
    /// Looks at a record's secret, and seals it anew where another key than the primary has sealed it.
    #[must_use]
    pub fn look(&self, key: &ConnectionKey, value: &[u8]) -> Secrecy {
        let found = std::str::from_utf8(value).map_err(|_| "not UTF-8".to_owned());
        match found.and_then(|json| Ok((json, fields(json)?))) {
            Ok((json, fields)) => self.look_at(key, json, &fields),
            Err(fault) => Secrecy { keeping: Keeping::Unknown, resealed: None, fault: Some(fault) },
        }
    }

    fn look_at(&self, key: &ConnectionKey, json: &str, fields: &Fields<'_>) -> Secrecy {
        let (keeping, resealed) = match &fields.secret {
            Secret::Plain(plain) if self.plain == PlainSecrets::Seal => {
                (Keeping::Plain, self.seal(key, fields.url, plain).map(Some))
            }
            Secret::Plain(_) => (Keeping::Plain, Ok(None)),
            Secret::Sealed(sealed) => match Envelope::parse(sealed) {
                Ok(envelope) => {
                    let id = envelope.key().clone();
                    let resealed = self.open(key, fields.url, sealed).and_then(|secret| {
                        let is_primary = id == *self.keyring.primary();
                        (!is_primary).then(|| self.seal(key, fields.url, &secret)).transpose()
                    });
                    (Keeping::Sealed(id), resealed)
                }
                Err(error) => (Keeping::Unknown, Err(error.to_string())),
            },
        };
        let splice = |sealed: String| spliced(json, &fields.place, &sealed);
        match resealed {
            Ok(resealed) => Secrecy { keeping, resealed: resealed.map(splice), fault: None },
            Err(fault) => Secrecy { keeping, resealed: None, fault: Some(fault) },
        }
    }

    fn open(
        &self,
        key: &ConnectionKey,
        url: Option<&RawValue>,
        sealed: &str,
    ) -> Result<SecretString, String> {
        let origin = self.origin(url)?;
        let opened = self.keyring.open(&self.binding(key, &origin), sealed);
        opened.map_err(|error| error.to_string())
    }

    fn seal(
        &self,
        key: &ConnectionKey,
        url: Option<&RawValue>,
        secret: &SecretString,
    ) -> Result<String, String> {
        let origin = self.origin(url)?;
        let sealed = self.keyring.seal(&self.binding(key, &origin), secret);
        sealed.map_err(|error| error.to_string())
    }

    fn origin(&self, url: Option<&RawValue>) -> Result<String, String> {
        let url = required(url).map_err(|fault| format!("url: {fault}"))?;
        let endpoint = self.rule.check_url(&url).map_err(|error| format!("url: {error}"))?;
        Ok(endpoint.origin().to_owned())
    }

    fn binding<'a>(&'a self, key: &'a ConnectionKey, origin: &'a str) -> Binding<'a> {
        Binding { topic: self.topic, project: key.project(), connection: key.connection(), origin }
    }
}

/// The revision that a record names.
#[must_use]
pub fn revision(value: &[u8]) -> Option<u64> {
    let Object(Revision { revision }) = serde_json::from_slice(value).ok()?;
    whole_number(revision)
}

#[derive(Deserialize)]
struct Revision<'a> {
    #[serde(borrow)]
    revision: &'a RawValue,
}

/// What is needed of a record.
struct Fields<'a> {
    url: Option<&'a RawValue>,
    secret: Secret,
    /// Where in the record the secret's value stands.
    place: Range<usize>,
}

enum Secret {
    Plain(SecretString),
    Sealed(String),
}

#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    url: Option<&'a RawValue>,
    #[serde(borrow)]
    auth: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Credentials<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    password: Option<&'a RawValue>,
    #[serde(borrow)]
    token: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Sealed<'a> {
    #[serde(borrow)]
    sealed: &'a RawValue,
}

fn fields(json: &str) -> Result<Fields<'_>, String> {
    let Object(Record { url, auth }) =
        serde_json::from_str(json).map_err(|error| json_fault(&error))?;
    let auth = auth.ok_or("auth: is missing")?;
    let Object(Credentials { kind, password, token }) = serde_json::from_str(auth.get())
        .map_err(|error| format!("auth: {}", json_fault(&error)))?;
    let kind = required(kind).map_err(|fault| format!("auth.type: {fault}"))?;
    let raw = match &*kind {
        "basic" => password.ok_or("auth.password: is missing")?,
        "bearer" => token.ok_or("auth.token: is missing")?,
        _ => return Err("auth.type: it is not known".to_owned()),
    };
    let secret = match serde_json::from_str::<Object<Sealed<'_>>>(raw.get()) {
        Ok(Object(Sealed { sealed })) => {
            Secret::Sealed(text(sealed).ok_or("auth: the sealed secret is no text")?.into_owned())
        }
        Err(_) => {
            Secret::Plain(text(raw).ok_or("auth: the secret is no text")?.into_owned().into())
        }
    };
    Ok(Fields { url, secret, place: place_of(raw.get(), json) })
}

/// Where a part of a text stands in it.
fn place_of(part: &str, whole: &str) -> Range<usize> {
    let start = part.as_ptr().addr() - whole.as_ptr().addr();
    start..start + part.len()
}

fn spliced(json: &str, place: &Range<usize>, sealed: &str) -> Vec<u8> {
    let (before, after) = (&json[..place.start], &json[place.end..]);
    [before, "{\"sealed\":\"", sealed, "\"}", after].concat().into_bytes()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::engine::address::EgressConfig;

    const PLAIN: &str = include_str!("../../../../tests/fixtures/v1/connection.json");
    const SEALED: &str = include_str!("../../../../tests/fixtures/v1/connection-sealed.json");
    const KEYRING: &str = include_str!("../../../../tests/fixtures/v1/keyring.json");

    fn look(keyring: &Keyring, plain: PlainSecrets, value: &str) -> Secrecy {
        let rule = AddressRule::new(&EgressConfig::default(), Vec::new());
        let resealer = Resealer { topic: "barnabas.connections", rule: &rule, keyring, plain };
        let key = ConnectionKey::parse("4172/whc_01JB900M6K").unwrap();
        resealer.look(&key, value.as_bytes())
    }

    /// The golden keyring with a newer primary key.
    fn rotated() -> Keyring {
        let mut keyring = Keyring::parse(KEYRING).unwrap();
        let new = keyring.add(1_760_000_000).unwrap();
        keyring.make_primary(new.as_str()).unwrap();
        keyring
    }

    fn sealed_with(id: &str) -> Keeping {
        Keeping::Sealed(id.parse().unwrap())
    }

    /// The text before and behind the sealed secret.
    fn around_secret(value: &str) -> (&str, &str) {
        let (before, sealed) = value.split_once("v1.").unwrap();
        (before, sealed.split_once('"').unwrap().1)
    }

    #[test]
    fn what_another_key_sealed_is_sealed_anew_and_nothing_else_changes() {
        let keyring = rotated();
        let found = look(&keyring, PlainSecrets::Leave, SEALED);
        assert_eq!((found.keeping, found.fault), (sealed_with("k3"), None));
        let resealed = String::from_utf8(found.resealed.unwrap()).unwrap();
        assert_eq!(around_secret(&resealed), around_secret(SEALED));
        let again = look(&keyring, PlainSecrets::Leave, &resealed);
        assert_eq!(again.keeping, Keeping::Sealed(keyring.primary().clone()));
        assert_eq!((again.resealed, again.fault), (None, None));
        let fields = fields(&resealed).unwrap();
        let Secret::Sealed(sealed) = fields.secret else { panic!("it is plain") };
        let binding = Binding {
            topic: "barnabas.connections",
            project: "4172",
            connection: "whc_01JB900M6K",
            origin: "https://hooks.example.com",
        };
        assert_eq!(keyring.open(&binding, &sealed).unwrap().expose_secret(), "canary-sealed");
    }

    #[test]
    fn a_plain_secret_is_sealed_where_that_was_asked() {
        let keyring = rotated();
        let left = look(&keyring, PlainSecrets::Leave, PLAIN);
        assert_eq!(left, Secrecy { keeping: Keeping::Plain, resealed: None, fault: None });
        let found = look(&keyring, PlainSecrets::Seal, PLAIN);
        let resealed = String::from_utf8(found.resealed.unwrap()).unwrap();
        assert!(!resealed.contains("canary"), "{resealed}");
        let (before, behind) = around_secret(&resealed);
        assert_eq!(before.replace("{\"sealed\":\"", "\"") + "canary-plain\"" + &behind[1..], PLAIN);
    }

    #[test]
    fn a_secret_that_does_not_open_stays_and_its_key_counts_as_used() {
        let keyring = rotated();
        let cases = [
            (SEALED.replace("hooks.example.com", "hooks.example.net"), sealed_with("k3")),
            (SEALED.replace("v1.k3.", "v1.k9."), sealed_with("k9")),
            (SEALED.replace("https:", "http:"), sealed_with("k3")),
            (SEALED.replace("v1.k3.", "v7.k3."), Keeping::Unknown),
            (SEALED.replace("\"basic\"", "\"signed\""), Keeping::Unknown),
            (SEALED.replace("\"auth\"", "\"other\""), Keeping::Unknown),
            ("{".to_owned(), Keeping::Unknown),
        ];
        for (value, keeping) in cases {
            let found = look(&keyring, PlainSecrets::Seal, &value);
            assert_eq!((found.keeping, found.resealed), (keeping, None), "{value}");
            assert!(!found.fault.expect("it is told").contains("canary"));
        }
    }

    #[test]
    fn a_revision_is_a_whole_number() {
        assert_eq!(revision(SEALED.as_bytes()), Some(7));
        assert_eq!(revision(b"{\"revision\":\"7\"}"), None);
        assert_eq!(revision(b"{"), None);
    }
}
