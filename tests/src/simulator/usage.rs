//! What each account's requests cost, beside what the limits would have allowed.
//!
//! Promises per provider and account: requests, what was charged to the quota, what was
//! answered 304, what a limit refused, and what was charged although the same caller had the
//! same body for the same question already. Of every answer two hashes are kept, of the newest
//! [`MAX_ANSWERS`]. What a question, a body and a limit are is each provider's business.

mod cost;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use cost::float;
pub use cost::{LimitUsage, Usage};

/// Answers that are remembered, over all providers.
const MAX_ANSWERS: usize = 200_000;

/// The account of requests that the app sends as itself.
pub(crate) const APP: &str = "app";

/// An answer, as far as it is remembered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    /// Hash of the caller, whatever its token, and of the URL or arguments.
    pub(crate) question: u64,
    /// Hash of the body without what changes from one answer to the next.
    pub(crate) body: u64,
    /// Hash of the token.
    pub(crate) token: u64,
}

/// How a request ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Outcome {
    /// Refused by a limit.
    Refused,
    /// 304.
    NotModified,
    /// Charged to the quota, so many requests or points.
    Charged(u64, Answer),
    /// Neither: free of charge, or the answer of a fault.
    Free,
}

/// A request that was answered.
pub(crate) struct Request<'a> {
    pub(crate) source: &'static str,
    pub(crate) account: &'a str,
    /// The endpoint, without what names a thing.
    pub(crate) route: &'a str,
    /// When it arrived, in milliseconds of the simulated clock.
    pub(crate) at: i64,
    pub(crate) outcome: Outcome,
    /// What it took of each limit, by the limit's name.
    pub(crate) used: &'a [(&'a str, u64)],
}

/// A limit as the provider keeps it now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quota {
    pub(crate) amount: u64,
    pub(crate) window_seconds: u32,
    /// All accounts use the same.
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
struct Answers {
    known: HashMap<u64, (u64, u64)>,
    /// Questions in the order in which they were first asked.
    order: VecDeque<u64>,
}

#[derive(Default)]
struct State {
    accounts: BTreeMap<(&'static str, String), Counters>,
    answers: Answers,
}

/// The use of all limits.
#[derive(Default)]
pub(crate) struct Accounting {
    state: Mutex<State>,
}

impl Accounting {
    /// Writes a request down.
    pub(crate) fn record(&self, request: &Request<'_>) {
        let mut guard = self.lock();
        let State { accounts, answers } = &mut *guard;
        let key = (request.source, request.account.to_owned());
        let counters = accounts.entry(key).or_default();
        let first_at = counters.first_at.get_or_insert(request.at);
        *first_at = request.at.min(*first_at);
        counters.requests += 1;
        match request.outcome {
            Outcome::Refused => counters.refused += 1,
            Outcome::NotModified => counters.not_modified += 1,
            Outcome::Charged(amount, answer) => {
                counters.charged += amount;
                match answers.keep(answer) {
                    Some(token) if token == answer.token => {
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
        let state = self.lock();
        let own = state.accounts.keys().filter(|(of, _)| *of == source);
        own.map(|(_, account)| account.clone()).collect()
    }

    /// What an account has used until now. `quota` tells a limit by its name.
    pub(crate) fn usage(
        &self,
        source: &str,
        account: &str,
        now: i64,
        quota: impl Fn(&str) -> Option<Quota>,
    ) -> Usage {
        let state = self.lock();
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
                    allowed: quota.map(|quota| quota.over(elapsed_seconds)),
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

    /// Starts counting again from zero. What was answered stays known.
    pub(crate) fn reset(&self) {
        self.lock().accounts.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answers {
    /// Remembers an answer. If its body was known already, tells for which token.
    fn keep(&mut self, answer: Answer) -> Option<u64> {
        let new = (answer.body, answer.token);
        if let Some(known) = self.known.insert(answer.question, new) {
            return (known.0 == answer.body).then_some(known.1);
        }
        self.order.push_back(answer.question);
        if self.order.len() > MAX_ANSWERS
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        None
    }
}

impl Quota {
    fn over(self, elapsed_seconds: f64) -> f64 {
        float(self.amount) * elapsed_seconds / f64::from(self.window_seconds)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a run takes hours at most")]
fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1_000.0
}

/// Hash of anything.
pub(crate) fn hash(of: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// Hash of a JSON body without some of its fields.
pub(crate) fn hash_without(body: &Value, fields: &[&str]) -> u64 {
    let mut hashing = Hashing(DefaultHasher::new());
    let written = match body {
        Value::Object(object) => object
            .iter()
            .filter(|(name, _)| !fields.contains(&name.as_str()))
            .try_for_each(|entry| serde_json::to_writer(&mut hashing, &entry)),
        other => serde_json::to_writer(&mut hashing, other),
    };
    // A hasher takes everything.
    debug_assert!(written.is_ok(), "JSON can be written");
    hashing.0.finish()
}

struct Hashing(DefaultHasher);

impl io::Write for Hashing {
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

    const fn answer(question: u64, body: u64, token: u64) -> Outcome {
        Outcome::Charged(
            1,
            Answer {
                question,
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
            answer(1, 10, 100),
            answer(1, 10, 100),
            answer(1, 10, 101),
            answer(1, 10, 101),
            answer(1, 11, 101),
            answer(2, 10, 101),
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
    fn memory_is_bounded() {
        let mut answers = Answers::default();
        let one = |question| Answer {
            question,
            body: 1,
            token: 1,
        };
        for question in 0..=MAX_ANSWERS as u64 {
            assert_eq!(answers.keep(one(question)), None);
        }
        assert_eq!(answers.known.len(), MAX_ANSWERS);
        assert_eq!(answers.keep(one(0)), None, "the oldest is forgotten");
        assert_eq!(answers.keep(one(MAX_ANSWERS as u64)), Some(1));
    }

    #[test]
    fn volatile_fields_do_not_count() {
        let body = |at: u64| json!({ "ok": true, "members": [1, 2], "cache_ts": at });
        let hash = |at| hash_without(&body(at), &["cache_ts"]);
        assert_eq!(hash(1), hash(2));
        assert_ne!(hash(1), hash_without(&body(1), &[]));
    }
}
