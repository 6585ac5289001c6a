//! Sessions of the console: a token exchanged for a cookie, and how often that may be tried.
//!
//! A session lives on the server. It ends after 30 minutes without a request, after 8 hours, when it is closed, and
//! when its token is revoked, which `access` asks at every request. Nothing is shared between instances.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::tokens::{Token, TokensError, digest, random_text};
use crate::engine::time::Timestamp;

/// The cookie's name.
pub const COOKIE: &str = "barnabas_session";
/// Without a request, a session ends after so long.
const IDLE: Duration = Duration::from_secs(30 * 60);
/// However busy, a session ends after so long.
const LIFETIME: Duration = Duration::from_secs(8 * 60 * 60);
/// Beyond so many the one that is idle for longest ends.
const MAX_SESSIONS: usize = 10_000;
/// So many wrong tokens in a window, and that address has to wait for the next.
const MAX_FAILURES: u32 = 10;
/// The window in which wrong tokens are counted.
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are counted; beyond so many all are forgotten.
const MAX_ADDRESSES: usize = 10_000;

/// All open sessions.
#[derive(Debug, Default)]
pub struct Sessions {
    open: Mutex<HashMap<String, Session>>,
    failures: Mutex<HashMap<IpAddr, Failures>>,
}

#[derive(Debug)]
struct Session {
    token: Arc<Token>,
    opened_at: Timestamp,
    used_at: Timestamp,
}

impl Session {
    fn is_over(&self, now: Timestamp) -> bool {
        now.since(self.used_at) >= IDLE || now.since(self.opened_at) >= LIFETIME
    }
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    since: Timestamp,
    count: u32,
}

impl Sessions {
    /// Opens a session and gives the cookie's value.
    ///
    /// # Errors
    /// [`TokensError::Random`].
    pub fn open(&self, token: Arc<Token>, now: Timestamp) -> Result<String, TokensError> {
        let secret = random_text()?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, session| !session.is_over(now));
        if open.len() >= MAX_SESSIONS {
            let idlest = open.iter().min_by_key(|(_, session)| session.used_at);
            if let Some(key) = idlest.map(|(key, _)| key.clone()) {
                open.remove(&key);
            }
        }
        open.insert(digest(&secret), Session { token, opened_at: now, used_at: now });
        Ok(secret)
    }

    /// The token of a session, which is used by that.
    #[must_use]
    pub fn token(&self, secret: &str, now: Timestamp) -> Option<Arc<Token>> {
        let key = digest(secret);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let session = open.get_mut(&key)?;
        if session.is_over(now) {
            open.remove(&key);
            return None;
        }
        session.used_at = now;
        Some(Arc::clone(&session.token))
    }

    /// Ends a session.
    pub fn close(&self, secret: &str) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest(secret));
    }

    /// How long an address has to wait before it may try a token again.
    #[must_use]
    pub fn pause(&self, address: IpAddr, now: Timestamp) -> Option<Duration> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let found = failures.get(&address)?;
        let left = WINDOW.checked_sub(now.since(found.since))?;
        (found.count >= MAX_FAILURES && !left.is_zero()).then_some(left)
    }

    /// Counts a wrong token.
    pub fn count_failure(&self, address: IpAddr, now: Timestamp) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= MAX_ADDRESSES {
            failures.clear();
        }
        let found = failures.entry(address).or_insert(Failures { since: now, count: 0 });
        if now.since(found.since) >= WINDOW {
            *found = Failures { since: now, count: 0 };
        }
        found.count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::tokens::Role;
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_760_000_000);

    fn token() -> Arc<Token> {
        Arc::new(Token::generate("ops", Role::Viewer, vec!["*".into()], NOW, None).unwrap().0)
    }

    fn minutes(count: u64) -> Timestamp {
        NOW + Duration::from_secs(60 * count)
    }

    #[test]
    fn a_session_ends_when_it_is_idle_and_after_eight_hours() {
        let sessions = Sessions::default();
        let idle = sessions.open(token(), NOW).unwrap();
        let busy = sessions.open(token(), NOW).unwrap();
        assert!(sessions.token(&idle, minutes(29)).is_some());
        assert!(sessions.token(&idle, minutes(59)).is_none());
        assert!((1..48).all(|turn| sessions.token(&busy, minutes(turn * 10)).is_some()));
        assert!(sessions.token(&busy, minutes(480)).is_none());
    }

    #[test]
    fn a_closed_session_is_none() {
        let sessions = Sessions::default();
        let secret = sessions.open(token(), NOW).unwrap();
        sessions.close(&secret);
        assert!(sessions.token(&secret, NOW).is_none());
    }

    #[test]
    fn wrong_tokens_make_an_address_wait_and_no_other() {
        let sessions = Sessions::default();
        let [guessing, other] = [1, 2].map(|last| IpAddr::from([192, 0, 2, last]));
        for _ in 0..MAX_FAILURES {
            assert!(sessions.pause(guessing, NOW).is_none());
            sessions.count_failure(guessing, NOW);
        }
        assert_eq!(sessions.pause(guessing, NOW), Some(WINDOW));
        assert!(sessions.pause(other, NOW).is_none());
        assert!(sessions.pause(guessing, NOW + WINDOW).is_none());
        sessions.count_failure(guessing, NOW + WINDOW);
        assert!(sessions.pause(guessing, NOW + WINDOW).is_none());
    }
}
