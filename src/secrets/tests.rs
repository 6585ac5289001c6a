//! Tests of [`super`]: what was sealed opens in its place alone, and nothing shows a secret.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use secrecy::{ExposeSecret, SecretString};
use tempfile::TempDir;

use super::file::{Invalid, KeyringError};
use super::keyring::ChangeError;
use super::*;

const GOLDEN: &str = include_str!("../../tests/fixtures/v1/keyring.json");

const PLACE: Binding<'static> = Binding {
    topic: "barnabas.connections",
    project: "4172",
    connection: "crm",
    origin: "https://hooks.example.com",
};

fn keyring() -> Keyring {
    Keyring::generate(1_759_900_000).unwrap()
}

fn seal(keyring: &Keyring, secret: &str) -> String {
    keyring.seal(&PLACE, &secret.into()).unwrap()
}

fn opened(opened: Result<SecretString, OpenError>) -> String {
    opened.unwrap().expose_secret().to_owned()
}

/// A file of that text and mode in a folder of its own.
fn file(text: &str, mode: u32) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyring.json");
    write(&path, text, mode);
    (folder, path)
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

proptest! {
    #[test]
    fn what_is_sealed_opens_in_its_place(secret in ".{1,1024}", other in ".{0,20}") {
        let keyring = keyring();
        let place = Binding { connection: &other, ..PLACE };
        let sealed = keyring.seal(&place, &secret.as_str().into()).unwrap();
        prop_assert_eq!(&opened(keyring.open(&place, &sealed)), &secret);
        let start = format!("v1.{}.", keyring.primary());
        prop_assert!(sealed.starts_with(&start));
        prop_assert_eq!(Envelope::parse(&sealed).unwrap().to_string(), sealed);
    }

    #[test]
    fn fields_that_run_into_each_other_are_told_apart(
        whole in "[a-z0-9/:.]{2,20}", cut in any::<prop::sample::Index>(), again in any::<prop::sample::Index>(),
    ) {
        let split = |at: usize| Binding { project: &whole[..at], connection: &whole[at..], ..PLACE };
        let (one, other) = (split(cut.index(whole.len())), split(again.index(whole.len())));
        let keyring = keyring();
        let sealed = keyring.seal(&one, &"secret".into()).unwrap();
        prop_assert_eq!(keyring.open(&other, &sealed).is_ok(), one == other);
    }

    #[test]
    fn no_text_makes_it_panic(text in ".{0,200}", body in "[A-Za-z0-9_-]{0,6000}") {
        let _ = keyring().open(&PLACE, &text);
        let id = "k3";
        let _ = Keyring::parse(GOLDEN).unwrap().open(&PLACE, &format!("v1.{id}.{body}"));
    }
}

#[test]
fn every_flipped_bit_and_every_cut_fails() {
    let keyring = keyring();
    let sealed = seal(&keyring, "päss word");
    for place in 0..sealed.len() {
        for bit in 0..8 {
            let mut bytes = sealed.clone().into_bytes();
            bytes[place] ^= 1 << bit;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            assert!(keyring.open(&PLACE, &text).is_err(), "byte {place}, bit {bit}");
        }
        assert!(keyring.open(&PLACE, &sealed[..place]).is_err(), "cut at {place}");
        assert!(keyring.open(&PLACE, &sealed[place + 1..]).is_err(), "begun after {place}");
    }
    assert!(keyring.open(&PLACE, &format!("{sealed}A")).is_err(), "lengthened");
}

#[test]
fn it_opens_in_no_other_place() {
    let keyring = keyring();
    let sealed = seal(&keyring, "secret");
    let elsewhere = [
        Binding { topic: "other.connections", ..PLACE },
        Binding { project: "4173", ..PLACE },
        Binding { connection: "crm2", ..PLACE },
        Binding { origin: "https://hooks.example.net", ..PLACE },
        Binding { origin: "https://hooks.example.com:8443", ..PLACE },
    ];
    for place in elsewhere {
        let error = keyring.open(&place, &sealed).unwrap_err();
        assert_eq!(error, OpenError::DataKey(keyring.primary().clone()), "{place:?}");
    }
}

#[test]
fn each_sealing_has_keys_and_nonces_of_its_own() {
    let keyring = keyring();
    let (one, other) = (seal(&keyring, "secret"), seal(&keyring, "secret"));
    assert_ne!(one, other);
    // The wrapped key of one with the secret of the other: both are of this place, and yet they are no pair.
    let body = |text: &str| text.rsplit('.').next().unwrap().to_owned();
    let wrapped_chars = 80;
    let mixed = [&body(&one)[..wrapped_chars], &body(&other)[wrapped_chars..]].concat();
    let mixed = format!("v1.{}.{mixed}", keyring.primary());
    let error = keyring.open(&PLACE, &mixed).unwrap_err();
    assert_eq!(error, OpenError::Secret(keyring.primary().clone()));
}

#[test]
fn faults_of_a_text_have_types() {
    let keyring = Keyring::parse(GOLDEN).unwrap();
    let body = "A".repeat(200);
    let cases = [
        (String::new(), EnvelopeError::Shape),
        ("v1.k3".to_owned(), EnvelopeError::Shape),
        (format!("v1.k3.{body}."), EnvelopeError::Shape),
        (format!("v2.k3.{body}"), EnvelopeError::Version),
        (format!("v1..{body}"), EnvelopeError::Key(key::KeyIdError)),
        (format!("v1.k/3.{body}"), EnvelopeError::Key(key::KeyIdError)),
        (format!("v1.{}.{body}", "k".repeat(33)), EnvelopeError::Key(key::KeyIdError)),
        ("v1.k3.AAAA=".to_owned(), EnvelopeError::Base64),
        ("v1.k3.AA+A".to_owned(), EnvelopeError::Base64),
        ("v1.k3.AAAA".to_owned(), EnvelopeError::Length),
        (format!("v1.k3.{}", "A".repeat(5_580)), EnvelopeError::Length),
        ("A".repeat(100_000), EnvelopeError::TooLong(100_000)),
    ];
    for (text, fault) in cases {
        assert_eq!(keyring.open(&PLACE, &text).map(|_| ()), Err(fault.into()), "{text:.40}");
    }
    let unknown = keyring.open(&PLACE, &format!("v1.k4.{body}")).unwrap_err();
    assert_eq!(unknown, OpenError::UnknownKey("k4".parse().unwrap()));
}

#[test]
fn a_secret_has_a_length() {
    let keyring = keyring();
    for (secret, fits) in
        [("", false), ("x", true), (&"x".repeat(4096), true), (&"x".repeat(4097), false)]
    {
        let sealed = keyring.seal(&PLACE, &secret.into());
        assert_eq!(sealed.is_ok(), fits, "{}", secret.len());
        if let Ok(sealed) = sealed {
            assert_eq!(opened(keyring.open(&PLACE, &sealed)), secret);
        }
    }
}

#[test]
fn an_old_key_opens_until_it_is_removed() {
    let mut keyring = keyring();
    let old = keyring.primary().clone();
    let sealed = seal(&keyring, "secret");
    let new = keyring.add(1_759_900_001).unwrap();
    assert_eq!(keyring.primary(), &old);
    assert_eq!(keyring.remove(old.as_str()), Err(ChangeError::IsPrimary(old.clone())));
    keyring.make_primary(new.as_str()).unwrap();
    assert_eq!(Envelope::parse(&seal(&keyring, "secret")).unwrap().key(), &new);
    assert_eq!(opened(keyring.open(&PLACE, &sealed)), "secret");
    let listed: Vec<_> =
        keyring.list().into_iter().map(|info| (info.id, info.is_primary)).collect();
    assert_eq!(listed, [(old.clone(), false), (new, true)]);
    keyring.remove(old.as_str()).unwrap();
    let gone = keyring.open(&PLACE, &sealed).unwrap_err();
    assert_eq!(gone, OpenError::UnknownKey(old));
    assert!(matches!(keyring.make_primary("k9"), Err(ChangeError::UnknownKey(_))));
}

#[test]
fn another_key_of_the_same_name_opens_nothing() {
    let sealed = Keyring::parse(GOLDEN).unwrap().seal(&PLACE, &"secret".into()).unwrap();
    let other = Keyring::parse(&GOLDEN.replace("AAECAwQF", "BAECAwQF")).unwrap();
    assert_eq!(
        other.open(&PLACE, &sealed).map(|_| ()),
        Err(OpenError::DataKey("k3".parse().unwrap()))
    );
}

#[test]
fn nothing_shows_a_key_or_a_secret() {
    let keyring = Keyring::parse(GOLDEN).unwrap();
    let secret: SecretString = "canary".into();
    let sealed = keyring.seal(&PLACE, &secret).unwrap();
    let envelope = Envelope::parse(&sealed).unwrap();
    let shown = format!(
        "{keyring:?} {envelope:?} {:?} {:?}",
        keyring.list(),
        keyring.open(&PLACE, &sealed)
    );
    assert!(
        !shown.contains("canary") && !shown.contains("AAEC") && !shown.contains("[0, 1, 2"),
        "{shown}"
    );
    assert!(shown.contains("k3"));
}

#[test]
fn a_keyring_survives_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyring.json");
    let mut keyring = keyring();
    keyring.create(&path).unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let sealed = seal(&keyring, "secret");
    assert_eq!(opened(Keyring::read(&path).unwrap().open(&PLACE, &sealed)), "secret");
    assert!(matches!(keyring.create(&path), Err(KeyringError::Exists(_))));
    keyring.add(7).unwrap();
    keyring.replace(&path).unwrap();
    assert_eq!(Keyring::read(&path).unwrap().list(), keyring.list());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn a_file_that_others_may_use_is_refused() {
    for (mode, is_private) in [
        (0o600, true),
        (0o400, true),
        (0o640, false),
        (0o604, false),
        (0o620, false),
        (0o644, false),
    ] {
        let (_folder, path) = file(GOLDEN, mode);
        let read = Keyring::read(&path);
        assert_eq!(read.is_ok(), is_private, "{mode:o}");
        if let Err(error) = read {
            let text = error.to_string();
            assert!(text.contains(&format!("{mode:03o}")) && text.contains("chmod 600"), "{text}");
        }
    }
}

#[test]
fn what_is_wrong_with_a_file_is_told_and_shows_no_key() {
    let cases = [
        ("", "line 1"),
        ("{\"format\": 1}", "not a keyring's JSON"),
        (&*GOLDEN.replace("\"format\": 1", "\"format\": 2"), "format is 2"),
        (&*GOLDEN.replace("\"primary\": \"k3\"", "\"primary\": \"k4\""), "primary key k4"),
        (&*GOLDEN.replace("\"k3\"", "\"k 3\""), "key id"),
        (&*GOLDEN.replace("Hh8=", "Hh8=AAAA"), "k3 is not 32 bytes"),
        (&*GOLDEN.replace("AAECAwQF", ""), "k3 is not 32 bytes"),
        (&*GOLDEN.replace("AAECAwQF", "!AECAwQF"), "k3 is not 32 bytes"),
        (&*GOLDEN.replace("\"created_at\"", "\"made_at\""), "not a keyring's JSON"),
    ];
    for (text, fault) in cases {
        let (_folder, path) = file(text, 0o600);
        let error = Keyring::read(&path).unwrap_err().to_string();
        assert!(error.contains(fault) && error.contains("keyring.json"), "{error}");
        assert!(!error.contains("CAwQF"), "{error}");
    }
    let entry = "{\"id\": \"k3\", \"created_at\": 1, \"key\": \"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"}";
    let doubled = format!("{{\"format\": 1, \"primary\": \"k3\", \"keys\": [{entry}, {entry}]}}");
    assert_eq!(Keyring::parse(&doubled).map(|_| ()), Err(Invalid::Doubled("k3".parse().unwrap())));
    let missing = Keyring::read(Path::new("/nonexistent/keyring.json")).unwrap_err();
    assert!(matches!(missing, KeyringError::Read { .. }));
}

#[test]
fn the_keyring_in_force_follows_its_file() {
    let (_folder, path) = file(GOLDEN, 0o600);
    let mut follower = KeyringFollower::open(&path).unwrap();
    let shared = follower.handle();
    assert!(matches!(follower.refresh(), Refresh::Unchanged));
    let mut keyring = Keyring::read(&path).unwrap();
    let new = keyring.add(1).unwrap();
    keyring.replace(&path).unwrap();
    assert!(matches!(follower.refresh(), Refresh::Changed));
    assert!(shared.current().has(&new));
    write(&path, GOLDEN, 0o600);
    assert!(matches!(follower.refresh(), Refresh::Changed));
    assert!(!shared.current().has(&new));
}

#[test]
fn a_broken_file_keeps_the_keyring_in_force_and_is_told_once() {
    let (_folder, path) = file(GOLDEN, 0o600);
    let mut follower = KeyringFollower::open(&path).unwrap();
    let shared = follower.handle();
    write(&path, "{", 0o600);
    assert!(matches!(follower.refresh(), Refresh::Refused(KeyringError::Invalid { .. })));
    assert!(matches!(follower.refresh(), Refresh::Unchanged));
    write(&path, GOLDEN, 0o644);
    assert!(matches!(follower.refresh(), Refresh::Refused(KeyringError::Mode { .. })));
    fs::remove_file(&path).unwrap();
    assert!(matches!(follower.refresh(), Refresh::Refused(KeyringError::Read { .. })));
    assert!(shared.current().has(&"k3".parse().unwrap()));
    write(&path, GOLDEN, 0o600);
    assert!(matches!(follower.refresh(), Refresh::Unchanged), "it is what is in force");
    assert!(KeyringFollower::open(Path::new("/nonexistent")).is_err());
}
