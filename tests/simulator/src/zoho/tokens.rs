//! Codes, grants and tokens of the one OAuth client.
//!
//! Each exchange of a code makes a grant of its own: revoking its refresh token ends no other
//! grant of the person. All tokens are known in the data centre of their account only.

use std::collections::{BTreeSet, HashMap, VecDeque};

use rand::RngExt;
use rand::rngs::StdRng;

use super::data_center::DataCenter;
use super::settings::Settings;

/// Lifetime of an authorization code.
const CODE_TTL_SECONDS: i64 = 120;

/// Time in which access tokens of a refresh token are counted.
const ACCESS_WINDOW_SECONDS: i64 = 600;

/// Time in which new refresh tokens of a person are counted.
const REFRESH_WINDOW_SECONDS: i64 = 60;

/// A consent that has not been exchanged.
#[derive(Debug, Clone)]
pub(crate) struct Code {
    pub(crate) login: String,
    pub(crate) data_center: DataCenter,
    pub(crate) scopes: BTreeSet<String>,
    pub(crate) redirect_uri: String,
    /// The exchange returns a refresh token.
    pub(crate) is_offline: bool,
}

/// Person and scopes of a valid access token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) login: String,
    pub(crate) data_center: DataCenter,
    pub(crate) scopes: BTreeSet<String>,
}

/// Result of the exchange of a code.
struct Grant {
    caller: Caller,
    /// `None` without offline access.
    refresh_token: Option<String>,
    is_ended: bool,
    /// Access tokens, oldest first.
    access_tokens: VecDeque<String>,
    /// Start of the window, and access tokens issued in it.
    window: (i64, usize),
}

struct AccessToken {
    grant: usize,
    expires_at: i64,
}

/// Reason why no token is issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// The code or refresh token is unknown, expired, used, revoked, or of another data centre.
    InvalidCode,
    /// The redirect URI differs from that of the consent.
    InvalidRedirectUri,
    /// Too many tokens were issued recently.
    Throttled,
}

/// Tokens of a response.
#[derive(Debug)]
pub(crate) struct Issued {
    pub(crate) caller: Caller,
    pub(crate) access_token: String,
    pub(crate) refresh_token: Option<String>,
}

/// All codes, grants and tokens.
#[derive(Default)]
pub(crate) struct Tokens {
    /// Codes with the end of their validity.
    codes: HashMap<String, (Code, i64)>,
    grants: Vec<Grant>,
    /// Grant of each refresh token.
    refresh: HashMap<String, usize>,
    access: HashMap<String, AccessToken>,
    /// Times of each person's newest refresh tokens.
    issued: HashMap<String, VecDeque<i64>>,
}

impl Tokens {
    /// Scopes of all live grants of a person; `None` without a grant.
    pub(crate) fn granted(&self, login: &str) -> Option<BTreeSet<String>> {
        let mut grants = self.grants_of(login).peekable();
        grants.peek()?;
        let scopes = grants.flat_map(|grant| grant.caller.scopes.iter().cloned());
        Some(scopes.collect())
    }

    /// Number of live refresh tokens of a person.
    pub(crate) fn refresh_tokens(&self, login: &str) -> usize {
        let grants = self.grants_of(login);
        grants.filter(|grant| grant.refresh_token.is_some()).count()
    }

    fn grants_of(&self, login: &str) -> impl Iterator<Item = &Grant> {
        let grants = self.grants.iter();
        grants.filter(move |grant| !grant.is_ended && grant.caller.login == login)
    }

    /// Stores a consent and returns its code.
    pub(crate) fn store_consent(&mut self, code: Code, now: i64, rng: &mut StdRng) -> String {
        let text = secret(rng);
        self.codes
            .insert(text.clone(), (code, now + CODE_TTL_SECONDS));
        text
    }

    /// Exchanges a code, which is valid once and only in its data centre.
    pub(crate) fn exchange(
        &mut self,
        data_center: DataCenter,
        code: &str,
        redirect_uri: Option<&str>,
        settings: &Settings,
        now: i64,
        rng: &mut StdRng,
    ) -> Result<Issued, Denied> {
        let is_here = |code: &(Code, i64)| code.0.data_center == data_center;
        if !self.codes.get(code).is_some_and(is_here) {
            return Err(Denied::InvalidCode);
        }
        let (code, expires_at) = self.codes.remove(code).ok_or(Denied::InvalidCode)?;
        if expires_at <= now {
            return Err(Denied::InvalidCode);
        }
        if redirect_uri != Some(code.redirect_uri.as_str()) {
            return Err(Denied::InvalidRedirectUri);
        }
        if code.is_offline {
            self.count_refresh_token(&code.login, settings, now)?;
        }
        let refresh_token = code.is_offline.then(|| secret(rng));
        let caller = Caller {
            login: code.login,
            data_center,
            scopes: code.scopes,
        };
        let grant = self.grants.len();
        self.grants.push(Grant {
            caller: caller.clone(),
            refresh_token: refresh_token.clone(),
            is_ended: false,
            access_tokens: VecDeque::new(),
            window: (now, 0),
        });
        if let Some(token) = &refresh_token {
            self.refresh.insert(token.clone(), grant);
            self.end_oldest(&caller.login, settings.max_refresh_tokens);
        }
        Ok(Issued {
            caller,
            access_token: self.issue_access(grant, settings, now, rng),
            refresh_token,
        })
    }

    /// Counts a new refresh token of a person, or denies it.
    fn count_refresh_token(
        &mut self,
        login: &str,
        settings: &Settings,
        now: i64,
    ) -> Result<(), Denied> {
        let times = self.issued.entry(login.to_owned()).or_default();
        times.retain(|at| now - at < REFRESH_WINDOW_SECONDS);
        let limit = settings.refresh_tokens_per_minute;
        if limit.is_some_and(|limit| times.len() >= limit) {
            return Err(Denied::Throttled);
        }
        times.push_back(now);
        Ok(())
    }

    /// Ends a person's oldest refresh tokens beyond the maximum, silently.
    fn end_oldest(&mut self, login: &str, max: usize) {
        let excess = self.refresh_tokens(login).saturating_sub(max);
        let grants = self.grants.iter_mut().filter(|grant| {
            !grant.is_ended && grant.refresh_token.is_some() && grant.caller.login == login
        });
        for grant in grants.take(excess) {
            grant.is_ended = true;
        }
    }

    /// Exchanges a refresh token, which stays valid.
    pub(crate) fn refresh(
        &mut self,
        data_center: DataCenter,
        token: &str,
        settings: &Settings,
        now: i64,
        rng: &mut StdRng,
    ) -> Result<Issued, Denied> {
        let number = *self.refresh.get(token).ok_or(Denied::InvalidCode)?;
        let grant = &mut self.grants[number];
        if grant.is_ended || grant.caller.data_center != data_center {
            return Err(Denied::InvalidCode);
        }
        let (since, count) = &mut grant.window;
        if now - *since >= ACCESS_WINDOW_SECONDS {
            (*since, *count) = (now, 0);
        }
        let limit = settings.access_tokens_per_window;
        if limit.is_some_and(|limit| *count >= limit) {
            return Err(Denied::Throttled);
        }
        *count += 1;
        Ok(Issued {
            caller: grant.caller.clone(),
            access_token: self.issue_access(number, settings, now, rng),
            refresh_token: None,
        })
    }

    /// Issues an access token; the grant's oldest ends if it has too many.
    fn issue_access(
        &mut self,
        grant: usize,
        settings: &Settings,
        now: i64,
        rng: &mut StdRng,
    ) -> String {
        let text = secret(rng);
        let token = AccessToken {
            grant,
            expires_at: now + settings.token_seconds,
        };
        self.access.insert(text.clone(), token);
        let own = &mut self.grants[grant].access_tokens;
        own.push_back(text.clone());
        while own.len() > settings.max_access_tokens.max(1) {
            if let Some(oldest) = own.pop_front() {
                self.access.remove(&oldest);
            }
        }
        text
    }

    /// Caller of an access token, which is valid in its data centre only.
    pub(crate) fn caller(&self, data_center: DataCenter, token: &str, now: i64) -> Option<Caller> {
        let token = self.access.get(token)?;
        let caller = &self.grants[token.grant].caller;
        let is_valid = token.expires_at > now && caller.data_center == data_center;
        is_valid.then(|| caller.clone())
    }

    /// Person of an access or refresh token, valid or not.
    pub(crate) fn owner(&self, token: &str) -> Option<&str> {
        let grant = self.grant_of(token)?;
        Some(&self.grants[grant].caller.login)
    }

    fn grant_of(&self, token: &str) -> Option<usize> {
        let refresh = self.refresh.get(token).copied();
        refresh.or_else(|| self.access.get(token).map(|token| token.grant))
    }

    /// Ends the grant of a token of this data centre; `false` if there is none.
    pub(crate) fn revoke(&mut self, data_center: DataCenter, token: &str) -> bool {
        let Some(number) = self.grant_of(token) else {
            return false;
        };
        let grant = &self.grants[number];
        if grant.is_ended || grant.caller.data_center != data_center {
            return false;
        }
        self.end(number);
        true
    }

    /// Ends all grants of a person, as the account's settings do.
    pub(crate) fn revoke_all(&mut self, login: &str) {
        for number in 0..self.grants.len() {
            if self.grants[number].caller.login == login {
                self.end(number);
            }
        }
    }

    fn end(&mut self, number: usize) {
        let grant = &mut self.grants[number];
        grant.is_ended = true;
        for token in grant.access_tokens.drain(..) {
            self.access.remove(&token);
        }
    }

    /// Expires a person's access tokens.
    pub(crate) fn expire_access(&mut self, login: &str, now: i64) {
        let grants = &self.grants;
        for token in self.access.values_mut() {
            if grants[token.grant].caller.login == login {
                token.expires_at = token.expires_at.min(now);
            }
        }
    }

    /// Resets the counts of issued tokens.
    pub(crate) fn reset_limits(&mut self) {
        self.issued.clear();
        for grant in &mut self.grants {
            grant.window = (i64::MIN / 2, 0);
        }
    }
}

/// Random text of a code or token.
fn secret(rng: &mut StdRng) -> String {
    let part = |bytes: [u8; 16]| hex::encode(bytes);
    let (first, second) = (rng.random(), rng.random());
    format!("1000.{}.{}", part(first), part(second))
}
