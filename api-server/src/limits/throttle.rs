//! Throttling of failed authentication, per client address and prefix of the credential.
//!
//! A throttled client's unknown credentials are rejected without a query. Credentials that this
//! process accepted recently are exempt, so that failures of others never lock them out. The
//! owner of an accepted credential is cached, so that its requests are counted before they cost a
//! query. The cache does not authenticate: every request within the limit is verified in the
//! database.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use shared::crypto::sha256;
use shared::model::{ApiKeyId, TenantId};
use shared::server::ClientAddr;

use super::gcra::{Gcra, Rate};

/// The maximum number of failures of one client with one prefix, as a burst and per minute.
const MAX_FAILURES_PER_PREFIX: u32 = 60;
/// The maximum number of failures of one client, as a burst and per minute.
const MAX_FAILURES_PER_CLIENT: u32 = 120;
const WINDOW: Duration = Duration::from_mins(1);
/// The length of a prefix: the `pbk_` of a key and eight more characters.
const PREFIX_CHARS: usize = 12;
/// The maximum number of cached credentials.
const MAX_ACCEPTED: usize = 10_000;
/// The time for which an accepted credential is cached.
const ACCEPTED_TTL: Duration = Duration::from_mins(15);

/// A client's network; `None` if the server does not know it.
type Client = Option<IpAddr>;

/// Counters of failures, and recently accepted credentials.
#[derive(Debug)]
pub(crate) struct Throttle {
    clients: Gcra<Client>,
    prefixes: Gcra<(Client, String)>,
    accepted: Mutex<HashMap<[u8; 32], AcceptedCredential>>,
}

/// A credential that was accepted.
#[derive(Debug, Clone, Copy)]
struct AcceptedCredential {
    accepted_at: Instant,
    owner: Option<KeyOwner>,
}

/// A key and its tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyOwner {
    pub(crate) tenant: TenantId,
    pub(crate) key: ApiKeyId,
}

/// A credential to verify.
#[derive(Debug)]
pub(crate) struct Attempt {
    client: Client,
    prefix: String,
    digest: [u8; 32],
}

impl Attempt {
    pub(crate) fn new(client: Option<ClientAddr>, presented: &str) -> Self {
        Self {
            client: client.map(ClientAddr::network),
            prefix: presented.chars().take(PREFIX_CHARS).collect(),
            digest: sha256(presented.as_bytes()),
        }
    }
}

impl Throttle {
    pub(super) fn new() -> Self {
        Self {
            clients: Gcra::new(Rate::per(WINDOW, MAX_FAILURES_PER_CLIENT)),
            prefixes: Gcra::new(Rate::per(WINDOW, MAX_FAILURES_PER_PREFIX)),
            accepted: Mutex::new(HashMap::new()),
        }
    }

    /// The time until this credential is verified; `None` if it is not throttled.
    pub(crate) fn retry_after(&self, attempt: &Attempt, now: Instant) -> Option<Duration> {
        let client = self.clients.peek(&attempt.client, now).retry_after;
        let key = (attempt.client, attempt.prefix.clone());
        let prefix = self.prefixes.peek(&key, now).retry_after;
        let retry_after = client.max(prefix)?;
        self.accepted(attempt, now).is_none().then_some(retry_after)
    }

    /// The owner of a recently accepted key; `None` for unknown credentials and operators.
    pub(crate) fn owner(&self, attempt: &Attempt, now: Instant) -> Option<KeyOwner> {
        self.accepted(attempt, now)?.owner
    }

    /// Whether this process accepted the credential recently.
    pub(crate) fn is_accepted(&self, attempt: &Attempt, now: Instant) -> bool {
        self.accepted(attempt, now).is_some()
    }

    /// Records an accepted credential and its owner.
    pub(crate) fn record_success(&self, attempt: &Attempt, owner: Option<KeyOwner>, now: Instant) {
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        if accepted.len() >= MAX_ACCEPTED && !accepted.contains_key(&attempt.digest) {
            accepted.retain(|_, accepted| accepted.is_valid(now));
            if accepted.len() >= MAX_ACCEPTED {
                accepted.clear();
            }
        }
        let credential = AcceptedCredential {
            accepted_at: now,
            owner,
        };
        accepted.insert(attempt.digest, credential);
    }

    /// Counts a rejected credential.
    pub(crate) fn record_failure(&self, attempt: Attempt, now: Instant) {
        self.accepted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&attempt.digest);
        self.clients.try_acquire(attempt.client, now);
        self.prefixes
            .try_acquire((attempt.client, attempt.prefix), now);
    }

    fn accepted(&self, attempt: &Attempt, now: Instant) -> Option<AcceptedCredential> {
        let accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        let accepted = accepted.get(&attempt.digest).copied();
        accepted.filter(|accepted| accepted.is_valid(now))
    }
}

impl AcceptedCredential {
    fn is_valid(&self, now: Instant) -> bool {
        now.duration_since(self.accepted_at) < ACCEPTED_TTL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(address: &str, presented: &str) -> Attempt {
        let address = ClientAddr(address.parse().expect("an address"));
        Attempt::new(Some(address), presented)
    }

    #[test]
    fn failures_throttle_their_prefix_and_client_only() {
        let throttle = Throttle::new();
        let now = Instant::now();
        let failing = |last: u32| attempt("192.0.2.1", &format!("pbk_aaaaaaaa{last}"));
        for last in 0..MAX_FAILURES_PER_PREFIX {
            assert!(throttle.retry_after(&failing(last), now).is_none());
            throttle.record_failure(failing(last), now);
        }
        let retry_after = throttle.retry_after(&failing(999), now).expect("throttled");
        assert!(retry_after <= WINDOW);
        assert!(
            throttle
                .retry_after(&attempt("192.0.2.1", "pbk_bbbbbbbbx"), now)
                .is_none()
        );
        assert!(
            throttle
                .retry_after(&attempt("192.0.2.2", "pbk_aaaaaaaax"), now)
                .is_none()
        );
        assert!(
            throttle
                .retry_after(&failing(999), now + retry_after)
                .is_none()
        );
    }

    #[test]
    fn many_prefixes_of_one_client_are_throttled() {
        let throttle = Throttle::new();
        let now = Instant::now();
        for number in 0..MAX_FAILURES_PER_CLIENT {
            throttle.record_failure(attempt("2001:db8::1", &format!("{number}-guess")), now);
        }
        // Addresses of one IPv6 network are one client.
        let other = attempt("2001:db8::2", "another");
        assert!(throttle.retry_after(&other, now).is_some());
        assert!(
            throttle
                .retry_after(&attempt("2001:db8:1::1", "another"), now)
                .is_none()
        );
    }

    #[test]
    fn accepted_credential_is_never_locked_out_by_others() {
        let throttle = Throttle::new();
        let now = Instant::now();
        throttle.record_success(&attempt("192.0.2.1", "pbk_good"), None, now);
        for number in 0..MAX_FAILURES_PER_CLIENT {
            throttle.record_failure(attempt("192.0.2.1", &format!("{number}-guess")), now);
        }
        assert!(
            throttle
                .retry_after(&attempt("192.0.2.1", "pbk_good"), now)
                .is_none()
        );
        assert!(
            throttle
                .retry_after(&attempt("192.0.2.1", "pbk_other"), now)
                .is_some()
        );
        // A revoked credential fails once and is unknown afterwards.
        throttle.record_failure(attempt("192.0.2.1", "pbk_good"), now);
        assert!(
            throttle
                .retry_after(&attempt("192.0.2.1", "pbk_good"), now)
                .is_some()
        );
    }

    #[test]
    fn failed_key_loses_its_cached_owner() {
        let throttle = Throttle::new();
        let now = Instant::now();
        let good = attempt("192.0.2.1", "pbk_good");
        let owner = KeyOwner {
            tenant: TenantId::generate(),
            key: ApiKeyId::generate(),
        };
        assert_eq!(throttle.owner(&good, now), None);
        throttle.record_success(&good, Some(owner), now);
        assert_eq!(throttle.owner(&good, now), Some(owner));
        assert_eq!(
            throttle.owner(&attempt("192.0.2.1", "pbk_goody"), now),
            None
        );
        assert_eq!(throttle.owner(&good, now + ACCEPTED_TTL), None);
        throttle.record_success(&good, Some(owner), now);
        throttle.record_failure(attempt("192.0.2.2", "pbk_good"), now);
        assert_eq!(throttle.owner(&good, now), None);
    }
}
