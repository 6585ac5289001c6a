//! Tests of [`super`].

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_760_000_000);

fn token(id: &str, lifetime: Option<Duration>) -> (Token, SecretString) {
    Token::generate(id, Role::Editor, vec!["4172".to_owned()], NOW, lifetime).unwrap()
}

fn file_of(tokens: Vec<Token>) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.json");
    TokensFile { tokens }.save(&path).unwrap();
    (folder, path)
}

#[test]
fn the_right_text_is_a_token_and_no_other_is() {
    let (ops, text) = token("ops", None);
    let (_folder, path) = file_of(vec![ops]);
    let tokens = Tokens::open(&path).unwrap();
    let text = text.expose_secret();
    assert_eq!(tokens.authenticate(text, NOW).unwrap().id, "ops");
    let other = token("ops", None).1;
    let wrong =
        [other.expose_secret(), "", "bnb_ops", "bnb_ops.", &text[4..], &text[..text.len() - 1]];
    for text in wrong {
        assert!(tokens.authenticate(text, NOW).is_none(), "{text}");
    }
}

#[test]
fn the_file_holds_no_secret_and_is_its_owners() {
    use std::os::unix::fs::PermissionsExt as _;
    let (ops, text) = token("ops", None);
    let (_folder, path) = file_of(vec![ops]);
    let secret = text.expose_secret().split_once('.').unwrap().1.to_owned();
    assert!(!fs::read_to_string(&path).unwrap().contains(&secret));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_token_ends_with_its_time() {
    let (ops, text) = token("ops", Some(Duration::from_secs(60)));
    let (_folder, path) = file_of(vec![ops]);
    let tokens = Tokens::open(&path).unwrap();
    let at = |secs| NOW + Duration::from_secs(secs);
    let token = tokens.authenticate(text.expose_secret(), at(59)).unwrap();
    assert!(tokens.authenticate(text.expose_secret(), at(60)).is_none());
    assert!(tokens.renew(&token, at(60)).is_none());
}

#[test]
fn a_change_of_the_file_counts_and_a_broken_file_does_not() {
    let (ops, text) = token("ops", None);
    let (_folder, path) = file_of(vec![ops.clone()]);
    let tokens = Tokens::open(&path).unwrap();
    let look = |tokens: &Tokens| {
        tokens.held.lock().unwrap().looked_at -= LOOK;
        tokens.authenticate(text.expose_secret(), NOW).is_some()
    };
    assert!(look(&tokens));
    fs::write(&path, "{").unwrap();
    assert!(look(&tokens), "a typing error locks nobody out");
    TokensFile::default().save(&path).unwrap();
    assert!(!look(&tokens), "it was revoked");
    assert!(tokens.renew(&ops, NOW).is_none());
}

#[test]
fn a_file_that_cannot_be_used_says_why() {
    let (ops, _) = token("ops", None);
    let bad = |change: fn(&mut Token)| {
        let mut token = ops.clone();
        change(&mut token);
        let (_folder, path) = file_of(vec![token]);
        TokensFile::load(&path).unwrap_err().to_string()
    };
    assert!(bad(|token| token.id = "a b".into()).contains("`a b` is no token id"));
    assert!(bad(|token| token.sha256 = "12".into()).contains("no SHA-256"));
    assert!(bad(|token| token.projects.clear()).contains("for no project"));
    let (_folder, path) = file_of(vec![ops.clone(), ops.clone()]);
    assert!(TokensFile::load(&path).unwrap_err().to_string().contains("twice"));
}

#[test]
fn a_token_is_for_its_projects() {
    let (ops, _) = token("ops", None);
    assert!(ops.covers("4172") && !ops.covers("4173") && !ops.covers("*"));
    let (tokens, text) = Tokens::for_set_up(NOW).unwrap();
    assert!(tokens.authenticate(text.expose_secret(), NOW).unwrap().covers("4173"));
}
