//! The ids of connections that are made here.

use sha2::{Digest as _, Sha256};

use super::ChangeError;
use crate::admin::tokens::TokensError;
use crate::engine::connection::{ConnectionKey, Fault};

/// 80 bits: sixteen letters, and no two alike.
const ID_BYTES: usize = 10;
/// Crockford's base 32: no letter looks like another.
const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// The longest idempotency key.
const MAX_KEY_BYTES: usize = 255;

/// What a client sends again when it does not know whether its first request came through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(Box<str>);

impl IdempotencyKey {
    /// 1–255 characters of visible ASCII, or `None`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_key = (1..=MAX_KEY_BYTES).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_key.then(|| Self(text.into()))
    }
}

/// The key of a new connection: by chance, or always the same for an idempotency key, so that every instance knows it
/// again without keeping anything.
pub(super) fn key(
    project: &str,
    idempotency: Option<&IdempotencyKey>,
) -> Result<ConnectionKey, ChangeError> {
    let bytes: [u8; ID_BYTES] = match idempotency {
        None => random()?,
        Some(IdempotencyKey(key)) => {
            let hash = Sha256::new().chain_update(project).chain_update([0]).chain_update(&**key);
            let mut bytes = [0; ID_BYTES];
            bytes.copy_from_slice(&hash.finalize()[..ID_BYTES]);
            bytes
        }
    };
    let fault = || Fault::new("project_id", "must be 1 or more characters without `/`");
    ConnectionKey::parse(&format!("{project}/whc_{}", letters(&bytes)))
        .ok_or_else(|| ChangeError::Invalid(vec![fault()]))
}

/// A byte by chance.
pub(super) fn random_byte() -> Result<u8, ChangeError> {
    Ok(random::<1>()?[0])
}

fn random<const N: usize>() -> Result<[u8; N], ChangeError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(TokensError::Random)?;
    Ok(bytes)
}

fn letters(bytes: &[u8; ID_BYTES]) -> String {
    let number = bytes.iter().fold(0_u128, |number, &byte| number << 8 | u128::from(byte));
    let letter = |place: usize| {
        let five = usize::try_from(number >> (5 * place) & 31).unwrap_or(0);
        char::from(LETTERS[five])
    };
    (0..ID_BYTES * 8 / 5).rev().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idempotency_key_has_one_id_in_each_project() {
        let again = IdempotencyKey::parse("order-7").unwrap();
        let first = key("4172", Some(&again)).unwrap();
        assert_eq!(first, key("4172", Some(&again)).unwrap());
        assert_ne!(first.connection(), key("4173", Some(&again)).unwrap().connection());
        assert_ne!(key("4172", None).unwrap(), key("4172", None).unwrap());
        assert!(first.connection().starts_with("whc_") && first.connection().len() == 20);
    }

    #[test]
    fn letters_are_the_bits_in_order() {
        assert_eq!(letters(&[0; 10]), "0000000000000000");
        assert_eq!(letters(&[0, 0, 0, 0, 0, 0, 0, 0, 4, 31]), "000000000000010Z");
        assert_eq!(letters(&[255; 10]), "ZZZZZZZZZZZZZZZZ");
    }
}
