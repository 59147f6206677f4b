//! Store of authorization codes and tokens.
//!
//! Codes are valid once and for ten minutes. A refresh revokes the old pair of user tokens at
//! once, and a user has at most ten of them. Installation tokens are valid for one hour, in both
//! of GitHub's formats.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::distr::{Alphanumeric, SampleString};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::world::Id;
use crate::lock::Mutex;

/// Lifetime of a refresh token in seconds.
pub(crate) const REFRESH_TTL_SECONDS: i64 = 15_897_600;
const CODE_TTL_SECONDS: i64 = 600;
const MAX_TOKENS_PER_USER: usize = 10;

/// An authorization code.
#[derive(Debug, Clone)]
pub(crate) struct Code {
    pub(crate) user: Id,
    /// URL in the authorization request; the exchange must send the same or none.
    pub(crate) redirect_uri: Option<String>,
    /// PKCE challenge.
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

/// Scope of an installation token.
#[derive(Debug, Clone)]
pub(crate) struct InstallationToken {
    pub(crate) installation: Id,
    /// Repositories to which the token is restricted.
    pub(crate) repositories: Option<BTreeSet<Id>>,
    pub(crate) permissions: BTreeMap<String, String>,
    pub(crate) expires_at: i64,
}

struct Store {
    rng: StdRng,
    codes: HashMap<String, Code>,
    pairs: VecDeque<Pair>,
    installation: HashMap<String, InstallationToken>,
}

/// All codes and tokens.
pub(crate) struct Tokens {
    store: Mutex<Store>,
}

impl Tokens {
    pub(crate) fn new(seed: u64) -> Self {
        let store = Store {
            rng: StdRng::seed_from_u64(seed),
            codes: HashMap::new(),
            pairs: VecDeque::new(),
            installation: HashMap::new(),
        };
        Self {
            store: Mutex::new(store),
        }
    }

    /// Issues a code for a user.
    pub(crate) fn issue_code(
        &self,
        user: Id,
        redirect_uri: Option<String>,
        challenge: Option<String>,
        now: i64,
    ) -> String {
        let mut store = self.store.lock();
        let code = hex::encode(store.rng.random::<[u8; 10]>());
        let expires_at = now + CODE_TTL_SECONDS;
        store.codes.insert(
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

    /// Redeems a code; `None` if it is unknown or expired.
    pub(crate) fn take_code(&self, code: &str, now: i64) -> Option<Code> {
        let found = self.store.lock().codes.remove(code)?;
        (found.expires_at > now).then_some(found)
    }

    /// Issues a pair for a user.
    pub(crate) fn issue_pair(&self, user: Id, now: i64, seconds: i64) -> Pair {
        let mut store = self.store.lock();
        store.issue(user, now, seconds)
    }

    /// Exchanges a refresh token for a new pair, and revokes the old one.
    pub(crate) fn refresh(&self, refresh: &str, now: i64, seconds: i64) -> Option<Pair> {
        let mut store = self.store.lock();
        let at = store
            .pairs
            .iter()
            .position(|pair| pair.refresh == refresh)?;
        let old = store.pairs.remove(at)?;
        if old.refresh_expires_at <= now {
            return None;
        }
        Some(store.issue(old.user, now, seconds))
    }

    /// Valid pair of a user token.
    pub(crate) fn pair(&self, access: &str, now: i64) -> Option<Pair> {
        let store = self.store.lock();
        store
            .pairs
            .iter()
            .find(|pair| pair.access == access && pair.expires_at > now)
            .cloned()
    }

    /// Revokes a user token; returns whether it existed.
    pub(crate) fn revoke_pair(&self, access: &str) -> bool {
        let mut store = self.store.lock();
        let before = store.pairs.len();
        store.pairs.retain(|pair| pair.access != access);
        store.pairs.len() < before
    }

    /// Revokes all tokens of a user.
    pub(crate) fn revoke_grant(&self, user: Id) {
        self.store.lock().pairs.retain(|pair| pair.user != user);
    }

    /// Expires all user tokens, but not their refresh tokens.
    pub(crate) fn expire_users(&self, now: i64) -> usize {
        let mut store = self.store.lock();
        for pair in &mut store.pairs {
            pair.expires_at = pair.expires_at.min(now);
        }
        store.pairs.len()
    }

    /// Issues an installation token: `ghs_` with 36 characters, or the long format.
    pub(crate) fn issue_installation(
        &self,
        token: InstallationToken,
        app: Id,
        long: bool,
    ) -> String {
        let mut store = self.store.lock();
        let text = if long {
            let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
            let header = part(r#"{"typ":"JWT","alg":"RS256"}"#);
            let claims = part(&format!(
                r#"{{"iss":"{app}","sub":"{}","exp":{},"jti":"{}"}}"#,
                token.installation,
                token.expires_at,
                hex::encode(store.rng.random::<[u8; 16]>())
            ));
            let mut signature = [0_u8; 256];
            store.rng.fill(&mut signature);
            format!(
                "ghs_{app}_{header}.{claims}.{}",
                URL_SAFE_NO_PAD.encode(signature)
            )
        } else {
            format!("ghs_{}", Alphanumeric.sample_string(&mut store.rng, 36))
        };
        store.installation.insert(text.clone(), token);
        text
    }

    /// Scope of a valid installation token.
    pub(crate) fn installation(&self, token: &str, now: i64) -> Option<InstallationToken> {
        let store = self.store.lock();
        store
            .installation
            .get(token)
            .filter(|found| found.expires_at > now)
            .cloned()
    }

    /// Revokes an installation token.
    pub(crate) fn revoke_installation(&self, token: &str) {
        self.store.lock().installation.remove(token);
    }

    /// Revokes all tokens of an installation.
    pub(crate) fn revoke_all_of_installation(&self, installation: Id) {
        self.store
            .lock()
            .installation
            .retain(|_, token| token.installation != installation);
    }

    /// Expires all installation tokens.
    pub(crate) fn expire_installations(&self) -> usize {
        let mut store = self.store.lock();
        let count = store.installation.len();
        store.installation.clear();
        count
    }
}

impl Store {
    fn issue(&mut self, user: Id, now: i64, seconds: i64) -> Pair {
        let pair = Pair {
            user,
            access: format!("ghu_{}", Alphanumeric.sample_string(&mut self.rng, 36)),
            refresh: format!("ghr_{}", Alphanumeric.sample_string(&mut self.rng, 76)),
            created_at: now,
            expires_at: now + seconds,
            refresh_expires_at: now + REFRESH_TTL_SECONDS,
        };
        let held = self.pairs.iter().filter(|held| held.user == user).count();
        if held >= MAX_TOKENS_PER_USER
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
    fn code_is_valid_once_and_for_ten_minutes() {
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
    fn refresh_revokes_the_old_pair_at_once() {
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
    fn eleventh_token_of_a_user_replaces_the_oldest() {
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
    fn installation_tokens_have_two_formats() {
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
