//! Codes, grants and tokens of the one OAuth client.
//!
//! A person has at most one grant, which holds every scope that the person agreed to. A
//! revocation ends the grant with all its tokens.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::people::digits;
use rand::RngExt;
use rand::distr::{Alphanumeric, SampleString};
use rand::rngs::StdRng;

/// Time after which an unused refresh token ends.
const UNUSED_TTL_SECONDS: i64 = 182 * 24 * 3_600;

/// A consent that has not been exchanged.
#[derive(Debug, Clone)]
pub(crate) struct Code {
    pub(crate) sub: String,
    pub(crate) scopes: BTreeSet<String>,
    pub(crate) redirect_uri: String,
    pub(crate) challenge: Option<String>,
    pub(crate) nonce: Option<String>,
    /// The exchange returns a refresh token.
    pub(crate) is_offline: bool,
    pub(crate) expires_at: i64,
}

#[derive(Debug, Clone)]
struct RefreshToken {
    sub: String,
    scopes: BTreeSet<String>,
    used_at: i64,
    /// End of a time-limited grant.
    ends_at: Option<i64>,
    is_ended: bool,
}

impl RefreshToken {
    fn is_live(&self, now: i64) -> bool {
        !self.is_ended
            && now - self.used_at < UNUSED_TTL_SECONDS
            && self.ends_at.is_none_or(|end| now < end)
    }
}

#[derive(Debug, Clone)]
struct AccessToken {
    sub: String,
    scopes: BTreeSet<String>,
    expires_at: i64,
}

/// Person and scopes of a valid access token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) sub: String,
    pub(crate) scopes: BTreeSet<String>,
}

impl Caller {
    /// Whether one of these scopes is granted.
    pub(crate) fn has_any(&self, scopes: &[&str]) -> bool {
        scopes.iter().any(|scope| self.scopes.contains(*scope))
    }
}

/// A new refresh token, and the seconds until its grant ends.
pub(crate) struct NewRefreshToken {
    pub(crate) token: String,
    pub(crate) expires_in: Option<i64>,
}

/// All codes, grants and tokens.
#[derive(Default)]
pub(crate) struct Tokens {
    codes: HashMap<String, Code>,
    /// Granted scopes by person.
    grants: BTreeMap<String, BTreeSet<String>>,
    /// Number of grants of each person that have ended.
    ended_grants: HashMap<String, u64>,
    refresh: HashMap<String, RefreshToken>,
    /// Refresh tokens of each person, oldest first.
    order: BTreeMap<String, Vec<String>>,
    access: HashMap<String, AccessToken>,
}

impl Tokens {
    pub(crate) fn granted(&self, sub: &str) -> Option<&BTreeSet<String>> {
        self.grants.get(sub)
    }

    /// Number of a person's grant, from zero; `None` without a grant.
    pub(crate) fn grant_number(&self, sub: &str) -> Option<u64> {
        let ended = self.ended_grants.get(sub).copied().unwrap_or(0);
        self.grants.contains_key(sub).then_some(ended)
    }

    /// Adds a consent to the person's grant and returns its code.
    pub(crate) fn store_consent(&mut self, code: Code, rng: &mut StdRng) -> String {
        let grant = self.grants.entry(code.sub.clone()).or_default();
        grant.extend(code.scopes.iter().cloned());
        let text = format!("4/0A{}", secret(rng, 70));
        self.codes.insert(text.clone(), code);
        text
    }

    /// Takes a code, which is valid once.
    pub(crate) fn take_code(&mut self, code: &str, now: i64) -> Option<Code> {
        self.codes.remove(code).filter(|code| code.expires_at > now)
    }

    pub(crate) fn issue_access(
        &mut self,
        sub: &str,
        scopes: &BTreeSet<String>,
        expires_at: i64,
        rng: &mut StdRng,
    ) -> String {
        let text = format!("ya29.a0{}", secret(rng, 160));
        let token = AccessToken {
            sub: sub.to_owned(),
            scopes: scopes.clone(),
            expires_at,
        };
        self.access.insert(text.clone(), token);
        text
    }

    /// Issues a refresh token; the oldest ends if the person has more than `max` live ones.
    pub(crate) fn issue_refresh(
        &mut self,
        sub: &str,
        scopes: &BTreeSet<String>,
        lifetime: Option<i64>,
        max: usize,
        now: i64,
        rng: &mut StdRng,
    ) -> NewRefreshToken {
        let text = format!("1//0{}{}", digits(rng, 1), secret(rng, 98));
        let token = RefreshToken {
            sub: sub.to_owned(),
            scopes: scopes.clone(),
            used_at: now,
            ends_at: lifetime.map(|seconds| now + seconds),
            is_ended: false,
        };
        self.refresh.insert(text.clone(), token);
        let order = self.order.entry(sub.to_owned()).or_default();
        order.push(text.clone());
        order.retain(|one| self.refresh.get(one).is_some_and(|one| one.is_live(now)));
        let excess = order.len().saturating_sub(max);
        for oldest in order.drain(..excess) {
            if let Some(token) = self.refresh.get_mut(&oldest) {
                token.is_ended = true;
            }
        }
        NewRefreshToken {
            token: text,
            expires_in: lifetime,
        }
    }

    /// Person and scopes of a live refresh token, which counts as used.
    pub(crate) fn use_refresh(&mut self, token: &str, now: i64) -> Option<Caller> {
        let token = self.refresh.get_mut(token)?;
        if !token.is_live(now) || !self.grants.contains_key(&token.sub) {
            return None;
        }
        token.used_at = now;
        Some(Caller {
            sub: token.sub.clone(),
            scopes: token.scopes.clone(),
        })
    }

    pub(crate) fn caller(&self, access_token: &str, now: i64) -> Option<Caller> {
        let token = self.access.get(access_token)?;
        let is_valid = token.expires_at > now && self.grants.contains_key(&token.sub);
        is_valid.then(|| Caller {
            sub: token.sub.clone(),
            scopes: token.scopes.clone(),
        })
    }

    /// Person of an access or refresh token, valid or not.
    pub(crate) fn owner(&self, token: &str) -> Option<&str> {
        let access = self.access.get(token).map(|token| token.sub.as_str());
        access.or_else(|| self.refresh.get(token).map(|token| token.sub.as_str()))
    }

    /// Ends the grant of a token with all tokens of the person; `false` if the token is dead.
    pub(crate) fn revoke(&mut self, token: &str, now: i64) -> bool {
        let is_live_refresh = self.refresh.get(token).is_some_and(|one| one.is_live(now));
        let is_live = is_live_refresh || self.caller(token, now).is_some();
        let owner = self.owner(token).map(str::to_owned);
        match owner.filter(|_| is_live) {
            Some(sub) => self.end_grant(&sub),
            None => false,
        }
    }

    /// Ends a person's grant with all tokens.
    pub(crate) fn end_grant(&mut self, sub: &str) -> bool {
        let existed = self.grants.remove(sub).is_some();
        *self.ended_grants.entry(sub.to_owned()).or_default() += u64::from(existed);
        self.end_tokens(sub, |_| true);
        existed
    }

    /// Ends a person's tokens with scopes of Gmail, as a new password does.
    pub(crate) fn change_password(&mut self, sub: &str) {
        let is_gmail =
            |scope: &String| scope.contains("mail.google.com") || scope.contains("/auth/gmail.");
        self.end_tokens(sub, |scopes| scopes.iter().any(is_gmail));
    }

    /// Expires a person's access tokens.
    pub(crate) fn expire_access(&mut self, sub: &str, now: i64) {
        let all = self.access.values_mut();
        for token in all.filter(|token| token.sub == sub) {
            token.expires_at = token.expires_at.min(now);
        }
    }

    fn end_tokens(&mut self, sub: &str, ends: impl Fn(&BTreeSet<String>) -> bool) {
        let refresh = self.refresh.values_mut();
        for token in refresh.filter(|token| token.sub == sub && ends(&token.scopes)) {
            token.is_ended = true;
        }
        let access = self.access.values_mut();
        for token in access.filter(|token| token.sub == sub && ends(&token.scopes)) {
            token.expires_at = i64::MIN;
        }
        self.codes
            .retain(|_, code| code.sub != sub || !ends(&code.scopes));
    }
}

/// Random text of letters, digits and `-`.
fn secret(rng: &mut StdRng, length: usize) -> String {
    let mut text = Alphanumeric.sample_string(rng, length);
    let at = rng.random_range(1..length);
    text.replace_range(at..=at, "-");
    text
}
