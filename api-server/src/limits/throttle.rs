//! Failed authentication, throttled per client address and prefix of the credential.
//!
//! A credential that this process has seen succeed is never locked out by the failures of
//! others: a throttled client's unknown credentials are refused before anything is looked up.
//! The owner of such a credential is remembered as well, so that its requests are metered before
//! they cost a statement. It opens nothing: every request that is within the limit is checked
//! in the database.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use shared::crypto::sha256;
use shared::ids::{ApiKeyId, TenantId};
use shared::server::ClientAddr;

use super::meter::{Meter, Rate};

/// Failures of one client with one prefix, at once and per minute.
const PER_PREFIX: u32 = 60;
/// Failures of one client with any credential, at once and per minute.
const PER_CLIENT: u32 = 120;
const WINDOW: Duration = Duration::from_mins(1);
/// Characters of a credential that tell one from another: the mark of a key and a little more.
const PREFIX_CHARS: usize = 12;
/// Credentials that are remembered as good.
const MAX_KNOWN: usize = 10_000;
/// How long they are.
const KNOWN_TTL: Duration = Duration::from_mins(15);

/// A client's network; `None` where the server does not know it.
type Client = Option<IpAddr>;

/// Counts failures.
#[derive(Debug)]
pub(crate) struct Throttle {
    clients: Meter<Client>,
    prefixes: Meter<(Client, String)>,
    known: Mutex<HashMap<[u8; 32], Known>>,
}

/// A credential that was accepted.
#[derive(Debug, Clone, Copy)]
struct Known {
    accepted_at: Instant,
    owner: Option<KeyOwner>,
}

/// A key and its tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyOwner {
    pub(crate) tenant: TenantId,
    pub(crate) key: ApiKeyId,
}

/// A credential that is about to be checked.
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
            clients: Meter::new(Rate::per(WINDOW, PER_CLIENT)),
            prefixes: Meter::new(Rate::per(WINDOW, PER_PREFIX)),
            known: Mutex::new(HashMap::new()),
        }
    }

    /// How long to wait before this credential is checked; `None` when it may be at once.
    pub(crate) fn wait(&self, attempt: &Attempt, now: Instant) -> Option<Duration> {
        let client = self.clients.look(&attempt.client, now).retry_after;
        let key = (attempt.client, attempt.prefix.clone());
        let prefix = self.prefixes.look(&key, now).retry_after;
        let wait = client.max(prefix)?;
        self.known(attempt, now).is_none().then_some(wait)
    }

    /// Whose key this is, if it was accepted lately; `None` for an operator's token.
    pub(crate) fn owner(&self, attempt: &Attempt, now: Instant) -> Option<KeyOwner> {
        self.known(attempt, now)?.owner
    }

    /// Notes that a credential was accepted, and whose key it is.
    pub(crate) fn succeeded(&self, attempt: &Attempt, owner: Option<KeyOwner>, now: Instant) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN && !known.contains_key(&attempt.digest) {
            known.retain(|_, known| known.is_valid(now));
            if known.len() >= MAX_KNOWN {
                known.clear();
            }
        }
        let accepted = Known {
            accepted_at: now,
            owner,
        };
        known.insert(attempt.digest, accepted);
    }

    /// Counts a credential that was refused.
    pub(crate) fn failed(&self, attempt: Attempt, now: Instant) {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&attempt.digest);
        self.clients.spend(attempt.client, now);
        self.prefixes.spend((attempt.client, attempt.prefix), now);
    }

    fn known(&self, attempt: &Attempt, now: Instant) -> Option<Known> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get(&attempt.digest).copied();
        known.filter(|known| known.is_valid(now))
    }
}

impl Known {
    fn is_valid(&self, now: Instant) -> bool {
        now.duration_since(self.accepted_at) < KNOWN_TTL
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
    fn failures_of_one_prefix_are_throttled_and_nobody_elses() {
        let throttle = Throttle::new();
        let now = Instant::now();
        let failing = |last: u32| attempt("192.0.2.1", &format!("pbk_aaaaaaaa{last}"));
        for last in 0..PER_PREFIX {
            assert!(throttle.wait(&failing(last), now).is_none());
            throttle.failed(failing(last), now);
        }
        let wait = throttle.wait(&failing(999), now).expect("throttled");
        assert!(wait <= WINDOW);
        assert!(
            throttle
                .wait(&attempt("192.0.2.1", "pbk_bbbbbbbbx"), now)
                .is_none()
        );
        assert!(
            throttle
                .wait(&attempt("192.0.2.2", "pbk_aaaaaaaax"), now)
                .is_none()
        );
        assert!(throttle.wait(&failing(999), now + wait).is_none());
    }

    #[test]
    fn many_prefixes_of_one_client_are_throttled_together() {
        let throttle = Throttle::new();
        let now = Instant::now();
        for number in 0..PER_CLIENT {
            throttle.failed(attempt("2001:db8::1", &format!("{number}-guess")), now);
        }
        // An IPv6 network is one client.
        let other = attempt("2001:db8::2", "another");
        assert!(throttle.wait(&other, now).is_some());
        assert!(
            throttle
                .wait(&attempt("2001:db8:1::1", "another"), now)
                .is_none()
        );
    }

    #[test]
    fn credential_that_was_good_is_not_locked_out_by_others() {
        let throttle = Throttle::new();
        let now = Instant::now();
        throttle.succeeded(&attempt("192.0.2.1", "pbk_good"), None, now);
        for number in 0..PER_CLIENT {
            throttle.failed(attempt("192.0.2.1", &format!("{number}-guess")), now);
        }
        assert!(
            throttle
                .wait(&attempt("192.0.2.1", "pbk_good"), now)
                .is_none()
        );
        assert!(
            throttle
                .wait(&attempt("192.0.2.1", "pbk_other"), now)
                .is_some()
        );
        // Revoked meanwhile: it fails once and is a stranger then.
        throttle.failed(attempt("192.0.2.1", "pbk_good"), now);
        assert!(
            throttle
                .wait(&attempt("192.0.2.1", "pbk_good"), now)
                .is_some()
        );
    }

    #[test]
    fn owner_of_a_key_is_forgotten_when_it_fails() {
        let throttle = Throttle::new();
        let now = Instant::now();
        let good = attempt("192.0.2.1", "pbk_good");
        let owner = KeyOwner {
            tenant: TenantId::generate(),
            key: ApiKeyId::generate(),
        };
        assert_eq!(throttle.owner(&good, now), None);
        throttle.succeeded(&good, Some(owner), now);
        assert_eq!(throttle.owner(&good, now), Some(owner));
        assert_eq!(
            throttle.owner(&attempt("192.0.2.1", "pbk_goody"), now),
            None
        );
        assert_eq!(throttle.owner(&good, now + KNOWN_TTL), None);
        throttle.succeeded(&good, Some(owner), now);
        throttle.failed(attempt("192.0.2.2", "pbk_good"), now);
        assert_eq!(throttle.owner(&good, now), None);
    }
}
