//! Limits of calls, which lock an endpoint for a while once they are exceeded.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use crate::clock::iso;

/// Who calls what: provider, person and endpoint.
///
/// A provider without limits per endpoint has one name for all.
pub(crate) type Key = (&'static str, String, &'static str);

/// Calls in a window, and the time for which the one beyond locks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) calls: usize,
    pub(crate) window_seconds: i64,
    pub(crate) lock_seconds: i64,
}

/// A refused call: the limit is exceeded, or a lock is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Locked {
    /// End of the lock.
    pub(crate) until: i64,
    /// This call began the lock; otherwise it came within one.
    pub(crate) is_first: bool,
}

#[derive(Default)]
struct Endpoint {
    /// Times of the newest calls.
    calls: VecDeque<i64>,
    locked_until: i64,
    /// Number of locks.
    locks: u64,
    /// Calls within a lock.
    calls_in_lock: u64,
}

/// Calls and locks of all providers.
#[derive(Default)]
pub(crate) struct Locks {
    endpoints: BTreeMap<Key, Endpoint>,
}

impl Locks {
    /// Counts a call, or refuses it.
    pub(crate) fn admit(&mut self, key: Key, limit: Limit, now: i64) -> Result<(), Locked> {
        let endpoint = self.endpoints.entry(key).or_default();
        if now < endpoint.locked_until {
            endpoint.calls_in_lock += 1;
            return Err(Locked {
                until: endpoint.locked_until,
                is_first: false,
            });
        }
        let calls = &mut endpoint.calls;
        calls.retain(|at| now - at < limit.window_seconds);
        if calls.len() < limit.calls {
            calls.push_back(now);
            return Ok(());
        }
        calls.clear();
        endpoint.locked_until = now + limit.lock_seconds;
        endpoint.locks += 1;
        Err(Locked {
            until: endpoint.locked_until,
            is_first: true,
        })
    }

    /// Ends the locks of a provider and resets its calls; the counts of locks stay.
    pub(crate) fn reset(&mut self, source: &str) {
        let endpoints = self.endpoints.iter_mut();
        for (_, endpoint) in endpoints.filter(|((of, ..), _)| *of == source) {
            endpoint.calls.clear();
            endpoint.locked_until = i64::MIN;
        }
    }

    /// Endpoints that were locked at least once, as the control API returns them.
    pub(crate) fn report(&self, now: i64) -> Vec<Value> {
        let locked = self.endpoints.iter().filter(|(_, one)| one.locks > 0);
        let describe = |((source, account, name), endpoint): (&Key, &Endpoint)| {
            json!({
                "provider": source, "account": account, "endpoint": name,
                "locked": now < endpoint.locked_until, "until": iso(endpoint.locked_until.max(0)),
                "locks": endpoint.locks, "calls_in_lock": endpoint.calls_in_lock,
            })
        };
        locked.map(describe).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit {
        calls: 2,
        window_seconds: 60,
        lock_seconds: 900,
    };

    #[test]
    fn call_beyond_the_limit_locks_its_endpoint_only() {
        let mut locks = Locks::default();
        let mut admit = |account: &str, now| {
            let key = ("zoho_mail", account.to_owned(), "mail");
            locks.admit(key, LIMIT, now)
        };
        assert_eq!((admit("a", 0), admit("a", 30)), (Ok(()), Ok(())));
        let refused = |is_first| {
            Err(Locked {
                until: 945,
                is_first,
            })
        };
        assert_eq!(admit("a", 45), refused(true));
        assert_eq!(admit("b", 45), Ok(()));
        assert_eq!(admit("a", 944), refused(false));
        assert_eq!(admit("a", 945), Ok(()));
        let report = locks.report(946);
        assert_eq!(report.len(), 1);
        assert_eq!(report[0]["calls_in_lock"], 1);
        assert_eq!(report[0]["locked"], false);
    }

    #[test]
    fn window_slides() {
        let mut locks = Locks::default();
        for now in [0, 30, 60, 90, 120] {
            let key = ("zoho_mail", "a".to_owned(), "mail");
            assert_eq!(locks.admit(key, LIMIT, now), Ok(()), "{now}");
        }
    }
}
