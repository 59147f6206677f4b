//! Codes and tokens: who holds what, and until when.
//!
//! Promises single-use codes of ten minutes, user tokens whose refresh kills the
//! old pair at once, at most ten live user tokens per user, and installation
//! tokens of one hour in both of GitHub's formats.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::distr::{Alphanumeric, SampleString};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::world::Id;

/// Seconds a refresh token lives.
pub(crate) const REFRESH_SECONDS: i64 = 15_897_600;
const CODE_SECONDS: i64 = 600;
const TOKENS_PER_USER: usize = 10;

/// A code on its way back to the app.
#[derive(Debug, Clone)]
pub(crate) struct Code {
    pub(crate) user: Id,
    /// As it was asked for; the exchange must name the same or none.
    pub(crate) redirect_uri: Option<String>,
    /// S256 challenge.
    pub(crate) challenge: Option<String>,
    expires_at: i64,
}

/// A user token and its refresh token.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) user: Id,
    pub(crate) access: String,
    pub(crate) refresh: String,
    pub(crate) created_at: i64,
    pub(crate) expires_at: i64,
    refresh_expires_at: i64,
}

/// What an installation token may do.
#[derive(Debug, Clone)]
pub(crate) struct InstallationToken {
    pub(crate) installation: Id,
    /// Only these repositories, if restricted.
    pub(crate) repositories: Option<BTreeSet<Id>>,
    pub(crate) permissions: BTreeMap<String, String>,
    pub(crate) expires_at: i64,
}

struct Book {
    rng: StdRng,
    codes: HashMap<String, Code>,
    pairs: VecDeque<Pair>,
    installation: HashMap<String, InstallationToken>,
}

/// All codes and tokens.
pub(crate) struct Tokens {
    book: Mutex<Book>,
}

impl Tokens {
    pub(crate) fn new(seed: u64) -> Self {
        let book = Book {
            rng: StdRng::seed_from_u64(seed),
            codes: HashMap::new(),
            pairs: VecDeque::new(),
            installation: HashMap::new(),
        };
        Self {
            book: Mutex::new(book),
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new code for a user.
    pub(crate) fn issue_code(
        &self,
        user: Id,
        redirect_uri: Option<String>,
        challenge: Option<String>,
        now: i64,
    ) -> String {
        let mut book = self.book();
        let code = hex::encode(book.rng.random::<[u8; 10]>());
        let expires_at = now + CODE_SECONDS;
        book.codes.insert(
            code.clone(),
            Code {
                user,
                redirect_uri,
                challenge,
                expires_at,
            },
        );
        code
    }

    /// Uses a code up, whether or not it is still good.
    pub(crate) fn take_code(&self, code: &str, now: i64) -> Option<Code> {
        let found = self.book().codes.remove(code)?;
        (found.expires_at > now).then_some(found)
    }

    /// A new pair for a user.
    pub(crate) fn issue_pair(&self, user: Id, now: i64, seconds: i64) -> Pair {
        let mut book = self.book();
        book.issue(user, now, seconds)
    }

    /// Trades a refresh token for a new pair; the old pair is dead at once.
    pub(crate) fn refresh(&self, refresh: &str, now: i64, seconds: i64) -> Option<Pair> {
        let mut book = self.book();
        let at = book.pairs.iter().position(|pair| pair.refresh == refresh)?;
        let old = book.pairs.remove(at)?;
        if old.refresh_expires_at <= now {
            return None;
        }
        Some(book.issue(old.user, now, seconds))
    }

    /// The live pair of a user token.
    pub(crate) fn pair(&self, access: &str, now: i64) -> Option<Pair> {
        let book = self.book();
        book.pairs
            .iter()
            .find(|pair| pair.access == access && pair.expires_at > now)
            .cloned()
    }

    /// Revokes one user token; answers whether it existed.
    pub(crate) fn revoke_pair(&self, access: &str) -> bool {
        let mut book = self.book();
        let before = book.pairs.len();
        book.pairs.retain(|pair| pair.access != access);
        book.pairs.len() < before
    }

    /// Revokes all tokens of a user.
    pub(crate) fn revoke_grant(&self, user: Id) {
        self.book().pairs.retain(|pair| pair.user != user);
    }

    /// Makes all user tokens (not their refresh tokens) expire now.
    pub(crate) fn expire_users(&self, now: i64) -> usize {
        let mut book = self.book();
        for pair in &mut book.pairs {
            pair.expires_at = pair.expires_at.min(now);
        }
        book.pairs.len()
    }

    /// A new installation token, `ghs_` and 36 characters or the long form.
    pub(crate) fn issue_installation(
        &self,
        token: InstallationToken,
        app: Id,
        long: bool,
    ) -> String {
        let mut book = self.book();
        let text = if long {
            let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
            let header = part(r#"{"typ":"JWT","alg":"RS256"}"#);
            let claims = part(&format!(
                r#"{{"iss":"{app}","sub":"{}","exp":{},"jti":"{}"}}"#,
                token.installation,
                token.expires_at,
                hex::encode(book.rng.random::<[u8; 16]>())
            ));
            let mut signature = [0_u8; 256];
            book.rng.fill(&mut signature);
            format!(
                "ghs_{app}_{header}.{claims}.{}",
                URL_SAFE_NO_PAD.encode(signature)
            )
        } else {
            format!("ghs_{}", Alphanumeric.sample_string(&mut book.rng, 36))
        };
        book.installation.insert(text.clone(), token);
        text
    }

    /// A live installation token.
    pub(crate) fn installation(&self, token: &str, now: i64) -> Option<InstallationToken> {
        let book = self.book();
        book.installation
            .get(token)
            .filter(|found| found.expires_at > now)
            .cloned()
    }

    /// Revokes one installation token.
    pub(crate) fn revoke_installation(&self, token: &str) {
        self.book().installation.remove(token);
    }

    /// Revokes every token of an installation.
    pub(crate) fn forget_installation(&self, installation: Id) {
        self.book()
            .installation
            .retain(|_, token| token.installation != installation);
    }

    /// Makes all installation tokens expire now.
    pub(crate) fn expire_installations(&self) -> usize {
        let mut book = self.book();
        let count = book.installation.len();
        book.installation.clear();
        count
    }
}

impl Book {
    fn issue(&mut self, user: Id, now: i64, seconds: i64) -> Pair {
        let pair = Pair {
            user,
            access: format!("ghu_{}", Alphanumeric.sample_string(&mut self.rng, 36)),
            refresh: format!("ghr_{}", Alphanumeric.sample_string(&mut self.rng, 76)),
            created_at: now,
            expires_at: now + seconds,
            refresh_expires_at: now + REFRESH_SECONDS,
        };
        let held = self.pairs.iter().filter(|held| held.user == user).count();
        if held >= TOKENS_PER_USER
            && let Some(oldest) = self.pairs.iter().position(|held| held.user == user)
        {
            self.pairs.remove(oldest);
        }
        self.pairs.push_back(pair.clone());
        pair
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_works_once_and_for_ten_minutes() {
        let tokens = Tokens::new(1);
        let code = tokens.issue_code(7, None, None, 1_000);
        assert_eq!(
            tokens.take_code(&code, 1_599).map(|code| code.user),
            Some(7)
        );
        assert!(tokens.take_code(&code, 1_599).is_none());
        let late = tokens.issue_code(7, None, None, 1_000);
        assert!(tokens.take_code(&late, 1_600).is_none());
    }

    #[test]
    fn a_refresh_kills_the_old_pair_at_once() {
        let tokens = Tokens::new(1);
        let old = tokens.issue_pair(7, 0, 28_800);
        let new = tokens
            .refresh(&old.refresh, 10, 28_800)
            .expect("a new pair");
        assert!(tokens.pair(&old.access, 11).is_none());
        assert!(tokens.refresh(&old.refresh, 11, 28_800).is_none());
        assert!(tokens.pair(&new.access, 11).is_some());
        assert!(tokens.pair(&new.access, 10 + 28_800).is_none());
    }

    #[test]
    fn the_eleventh_token_of_a_user_replaces_the_oldest() {
        let tokens = Tokens::new(1);
        let first = tokens.issue_pair(7, 0, 100);
        let other = tokens.issue_pair(8, 0, 100);
        for _ in 0..10 {
            tokens.issue_pair(7, 0, 100);
        }
        assert!(tokens.pair(&first.access, 1).is_none());
        assert!(tokens.pair(&other.access, 1).is_some());
    }

    #[test]
    fn installation_tokens_come_in_two_lengths() {
        let tokens = Tokens::new(1);
        let token = InstallationToken {
            installation: 9,
            repositories: None,
            permissions: BTreeMap::new(),
            expires_at: 3_600,
        };
        let short = tokens.issue_installation(token.clone(), 5, false);
        let long = tokens.issue_installation(token, 5, true);
        assert_eq!(short.len(), 40);
        assert!(long.starts_with("ghs_5_") && long.len() > 400);
        assert!(tokens.installation(&long, 3_599).is_some());
        assert!(tokens.installation(&long, 3_600).is_none());
    }
}
