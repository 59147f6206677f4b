//! Cost of each account's requests, compared with the providers' limits.
//!
//! Per provider and account, it counts the requests, those charged to the quota, those with a
//! 304 response, those that a limit refused, and those charged although the same caller had
//! received the same body for the same request before. For the latter it keeps hashes of the
//! newest [`MAX_RESPONSES`] responses. Each provider defines its requests, bodies and limits.

mod cost;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;

use serde_json::Value;

use super::lock::Mutex;
use cost::float;
pub use cost::{LimitUsage, Usage};

/// Response fingerprints in memory, over all providers.
const MAX_RESPONSES: usize = 200_000;

/// Account name of requests that the app sends as itself.
pub(crate) const APP: &str = "app";

/// Hashes of a response and its request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ResponseFingerprint {
    /// Hash of the caller (not its token) and of the URL or arguments.
    pub(crate) request: u64,
    /// Hash of the body without its volatile fields.
    pub(crate) body: u64,
    /// Hash of the token.
    pub(crate) token: u64,
}

/// Outcome of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Outcome {
    /// Refused by a limit.
    Refused,
    /// 304.
    NotModified,
    /// Charged to the quota: the number of requests or points.
    Charged(u64, ResponseFingerprint),
    /// Free of charge, or the response of a fault.
    Free,
}

/// A request with its outcome.
pub(crate) struct Request<'a> {
    pub(crate) source: &'static str,
    pub(crate) account: &'a str,
    /// The endpoint, with placeholders for ids.
    pub(crate) route: &'a str,
    /// Time of arrival, in milliseconds of the simulated clock.
    pub(crate) at: i64,
    pub(crate) outcome: Outcome,
    /// Units charged to each limit, by the limit's name.
    pub(crate) used: &'a [(&'a str, u64)],
}

/// A limit that the provider enforces.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quota {
    pub(crate) amount: u64,
    pub(crate) window_seconds: u32,
    /// All accounts share it.
    pub(crate) is_shared: bool,
}

#[derive(Default)]
struct Counters {
    first_at: Option<i64>,
    requests: u64,
    charged: u64,
    not_modified: u64,
    refused: u64,
    repeated: BTreeMap<String, u64>,
    recharged: u64,
    used: BTreeMap<String, u64>,
}

#[derive(Default)]
struct SeenResponses {
    known: HashMap<u64, (u64, u64)>,
    /// Request hashes in the order of their first response.
    order: VecDeque<u64>,
}

#[derive(Default)]
struct State {
    accounts: BTreeMap<(&'static str, String), Counters>,
    responses: SeenResponses,
}

/// Usage of all limits.
#[derive(Default)]
pub(crate) struct Accounting {
    state: Mutex<State>,
}

impl Accounting {
    /// Records a request.
    pub(crate) fn record(&self, request: &Request<'_>) {
        let mut guard = self.state.lock();
        let State {
            accounts,
            responses,
        } = &mut *guard;
        let key = (request.source, request.account.to_owned());
        let counters = accounts.entry(key).or_default();
        let first_at = counters.first_at.get_or_insert(request.at);
        *first_at = request.at.min(*first_at);
        counters.requests += 1;
        match request.outcome {
            Outcome::Refused => counters.refused += 1,
            Outcome::NotModified => counters.not_modified += 1,
            Outcome::Charged(amount, response) => {
                counters.charged += amount;
                match responses.insert(response) {
                    Some(token) if token == response.token => {
                        let route = request.route.to_owned();
                        *counters.repeated.entry(route).or_default() += 1;
                    }
                    Some(_) => counters.recharged += 1,
                    None => {}
                }
            }
            Outcome::Free => {}
        }
        for (limit, amount) in request.used {
            *counters.used.entry((*limit).to_owned()).or_default() += amount;
        }
    }

    /// Accounts of a provider that have sent requests.
    pub(crate) fn accounts(&self, source: &str) -> Vec<String> {
        let state = self.state.lock();
        let own = state.accounts.keys().filter(|(of, _)| *of == source);
        own.map(|(_, account)| account.clone()).collect()
    }

    /// Usage of an account so far. `quota` looks up a limit by its name.
    pub(crate) fn usage(
        &self,
        source: &str,
        account: &str,
        now: i64,
        quota: impl Fn(&str) -> Option<Quota>,
    ) -> Usage {
        let state = self.state.lock();
        let of_source = || state.accounts.iter().filter(|((of, _), _)| *of == source);
        let Some((_, own)) = of_source().find(|((_, name), _)| name == account) else {
            return Usage::default();
        };
        let elapsed_seconds = seconds(now - own.first_at.unwrap_or(now));
        let limits = own
            .used
            .iter()
            .map(|(limit, used)| {
                let quota = quota(limit);
                let used = if quota.is_some_and(|quota| quota.is_shared) {
                    of_source().filter_map(|(_, one)| one.used.get(limit)).sum()
                } else {
                    *used
                };
                let usage = LimitUsage {
                    used,
                    quota: quota.map(|quota| quota.amount),
                    window_seconds: quota.map(|quota| quota.window_seconds),
                    allowed: quota.map(|quota| quota.allowed_in(elapsed_seconds)),
                };
                (limit.clone(), usage)
            })
            .collect();
        Usage {
            requests: own.requests,
            charged: own.charged,
            not_modified: own.not_modified,
            refused: own.refused,
            repeated: own.repeated.values().sum(),
            repeated_routes: own.repeated.clone(),
            recharged: own.recharged,
            elapsed_seconds,
            limits,
        }
    }

    /// Resets all counts. Fingerprints of responses stay in memory.
    pub(crate) fn reset(&self) {
        self.state.lock().accounts.clear();
    }
}

impl SeenResponses {
    /// Stores a response. Returns the token of the previous response if the body is the same.
    fn insert(&mut self, response: ResponseFingerprint) -> Option<u64> {
        let new = (response.body, response.token);
        if let Some(known) = self.known.insert(response.request, new) {
            return (known.0 == response.body).then_some(known.1);
        }
        self.order.push_back(response.request);
        if self.order.len() > MAX_RESPONSES
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        None
    }
}

impl Quota {
    fn allowed_in(self, elapsed_seconds: f64) -> f64 {
        float(self.amount) * elapsed_seconds / f64::from(self.window_seconds)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a run takes at most hours")]
fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1_000.0
}

/// Hash of a value.
pub(crate) fn hash(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Hash of a JSON body without some of its fields.
pub(crate) fn hash_without(body: &Value, fields: &[&str]) -> u64 {
    let mut writer = HashWriter(DefaultHasher::new());
    let written = match body {
        Value::Object(object) => object
            .iter()
            .filter(|(name, _)| !fields.contains(&name.as_str()))
            .try_for_each(|entry| serde_json::to_writer(&mut writer, &entry)),
        other => serde_json::to_writer(&mut writer, other),
    };
    debug_assert!(written.is_ok(), "writing to a hasher never fails");
    writer.0.finish()
}

struct HashWriter(DefaultHasher);

impl io::Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const fn charged(request: u64, body: u64, token: u64) -> Outcome {
        Outcome::Charged(
            1,
            ResponseFingerprint {
                request,
                body,
                token,
            },
        )
    }

    fn record(accounting: &Accounting, account: &str, at: i64, outcome: Outcome) {
        accounting.record(&Request {
            source: "github",
            account,
            route: "GET /a",
            at,
            outcome,
            used: &[("core", 1)],
        });
    }

    fn hourly(is_shared: bool) -> impl Fn(&str) -> Option<Quota> {
        move |_| {
            Some(Quota {
                amount: 3_600,
                window_seconds: 3_600,
                is_shared,
            })
        }
    }

    #[test]
    fn same_body_is_repeated_or_recharged_by_token() {
        let accounting = Accounting::default();
        for outcome in [
            charged(1, 10, 100),
            charged(1, 10, 100),
            charged(1, 10, 101),
            charged(1, 10, 101),
            charged(1, 11, 101),
            charged(2, 10, 101),
            Outcome::NotModified,
            Outcome::Refused,
            Outcome::Free,
        ] {
            record(&accounting, "a", 5_000, outcome);
        }
        let usage = accounting.usage("github", "a", 15_000, hourly(false));
        assert_eq!((usage.requests, usage.charged), (9, 6));
        assert_eq!((usage.repeated, usage.recharged), (2, 1));
        assert_eq!((usage.not_modified, usage.refused), (1, 1));
        assert_eq!(usage.repeated_routes, [("GET /a".to_owned(), 2)].into());
        let core = &usage.limits["core"];
        assert_eq!((core.used, core.allowed), (9, Some(10.0)));
    }

    #[test]
    fn shared_limit_counts_all_accounts() {
        let accounting = Accounting::default();
        record(&accounting, "a", 0, Outcome::Free);
        record(&accounting, "b", 0, Outcome::Free);
        let used = |is_shared| {
            let usage = accounting.usage("github", "a", 0, hourly(is_shared));
            usage.limits["core"].used
        };
        assert_eq!((used(false), used(true)), (1, 2));
        accounting.reset();
        assert_eq!(
            accounting.usage("github", "a", 0, hourly(false)),
            Usage::default()
        );
    }

    #[test]
    fn fingerprints_in_memory_are_bounded() {
        let mut responses = SeenResponses::default();
        let response = |request| ResponseFingerprint {
            request,
            body: 1,
            token: 1,
        };
        for request in 0..=MAX_RESPONSES as u64 {
            assert_eq!(responses.insert(response(request)), None);
        }
        assert_eq!(responses.known.len(), MAX_RESPONSES);
        assert_eq!(responses.insert(response(0)), None, "the oldest is evicted");
        assert_eq!(responses.insert(response(MAX_RESPONSES as u64)), Some(1));
    }

    #[test]
    fn volatile_fields_do_not_change_the_hash() {
        let body = |at: u64| json!({ "ok": true, "members": [1, 2], "cache_ts": at });
        let hash = |at| hash_without(&body(at), &["cache_ts"]);
        assert_eq!(hash(1), hash(2));
        assert_ne!(hash(1), hash_without(&body(1), &[]));
    }
}
