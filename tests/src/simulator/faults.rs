//! Faults on command: which request or delivery goes wrong next, and how.
//!
//! Promises that a rule applies to the next `count` matching subjects, or to
//! `percent` of them, decided by a seeded generator, and that rules are asked
//! in the order in which they were added. What an effect looks like on the wire
//! is each provider's business.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What a rule looks at.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A request that a client sends to the simulator; the subject is
    /// `METHOD /path`, at GitHub with `?query`.
    Request,
    /// A delivery that the simulator sends; the subject is `event.action`.
    Delivery,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Request: the hourly quota is used up.
    PrimaryLimit,
    /// Request: secondary limit with `Retry-After`.
    SecondaryLimit,
    /// Request: secondary limit without `Retry-After`.
    SecondaryLimitBare,
    /// Request: 429 with `Retry-After`.
    TooManyRequests,
    /// Request: a status of the rule's choice (`status`), 500 by default.
    Status,
    /// Request: answered only after `seconds`.
    Slow,
    /// Request: half of the answer comes at once, the other half after `seconds`.
    SlowBody,
    /// Request: the connection is closed before anything happens.
    Reset,
    /// Request: the request is carried out, half of the answer is sent.
    Truncate,
    /// Request: the request is carried out, the answer is never sent.
    LoseResponse,
    /// Request and delivery: wherever the body says `find`, it says `put`, which need not be JSON
    /// that a strict reader takes.
    Replace,
    /// Request: the row of a list that says `find` somewhere has an object for its id.
    PoisonRow,
    /// Request: 401 as for an invalid token.
    Unauthorized,
    /// Request: 403 as for a missing permission.
    Forbidden,
    /// Delivery: fails before it reaches the receiver, and is logged as failed.
    Drop,
    /// Delivery: never sent and never logged.
    DropSilently,
    /// Delivery: sent twice.
    Duplicate,
    /// Delivery: sent `seconds` later.
    Delay,
    /// Delivery: sent after the next one of the same account.
    Reorder,
    /// Delivery: signed with a secret nobody has.
    WrongSignature,
    /// Delivery: signed, but too long ago.
    OldSignature,
    /// Delivery: sent without a signature.
    NoSignature,
    /// Delivery: padded to `bytes` (26 MB by default).
    Oversize,
}

/// A rule as it is added.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Requests or deliveries.
    pub target: Target,
    /// A part of the subject, `*` for any run of characters; all when absent.
    #[serde(default)]
    pub pattern: Option<String>,
    /// Only subjects of this account (deliveries) or of this caller (requests).
    #[serde(default)]
    pub account: Option<String>,
    /// What goes wrong.
    pub effect: Effect,
    /// Applies this many times, then is gone; without limit when absent.
    #[serde(default)]
    pub count: Option<u32>,
    /// Applies to this share of the matching subjects, 0 to 100.
    #[serde(default)]
    pub percent: Option<f64>,
    /// `Retry-After`, delay or slowness; how long at most a reordered delivery waits.
    #[serde(default)]
    pub seconds: Option<f64>,
    /// Status for [`Effect::Status`].
    #[serde(default)]
    pub status: Option<u16>,
    /// Size for [`Effect::Oversize`].
    #[serde(default)]
    pub bytes: Option<usize>,
    /// What [`Effect::Replace`] replaces, and what [`Effect::PoisonRow`] looks for.
    #[serde(default)]
    pub find: Option<String>,
    /// What it puts there.
    #[serde(default)]
    pub put: Option<String>,
}

impl Rule {
    /// The body as it goes over the wire.
    pub(crate) fn replaced(&self, body: Bytes) -> Bytes {
        let Some(find) = &self.find else {
            return body;
        };
        let text = String::from_utf8_lossy(&body);
        match self.effect {
            Effect::Replace => {
                let put = self.put.as_deref().unwrap_or_default();
                Bytes::from(text.replace(find.as_str(), put))
            }
            Effect::PoisonRow => match serde_json::from_str::<Value>(&text) {
                Ok(mut value) => {
                    poison(&mut value, find);
                    Bytes::from(value.to_string())
                }
                Err(_) => body,
            },
            _ => body,
        }
    }
}

/// Takes the ids of rows that say this.
fn poison(value: &mut Value, find: &str) {
    match value {
        Value::Array(rows) => {
            for row in rows.iter_mut().filter(|row| row.to_string().contains(find)) {
                let mut is_row = false;
                for name in ["id", "ts"] {
                    if let Some(id) = row.get_mut(name) {
                        *id = json!({});
                        is_row = true;
                    }
                }
                if !is_row {
                    poison(row, find);
                }
            }
        }
        Value::Object(fields) => fields.values_mut().for_each(|field| poison(field, find)),
        _ => {}
    }
}

/// A rule in force.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Standing {
    /// Number for deletion.
    pub(crate) id: u64,
    /// Times it has applied so far.
    pub(crate) applied: u64,
    /// The rule itself; `count` is what is left.
    #[serde(flatten)]
    pub(crate) rule: Rule,
}

struct Rules {
    next_id: u64,
    standing: Vec<Standing>,
    rng: StdRng,
}

/// All rules in force.
pub(crate) struct Faults {
    rules: Mutex<Rules>,
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        Self {
            rules: Mutex::new(Rules {
                next_id: 1,
                standing: Vec::new(),
                rng,
            }),
        }
    }

    /// Adds a rule and answers its number.
    pub(crate) fn add(&self, rule: Rule) -> u64 {
        let mut rules = self.lock();
        let id = rules.next_id;
        rules.next_id += 1;
        rules.standing.push(Standing {
            id,
            applied: 0,
            rule,
        });
        id
    }

    /// Removes one rule, or all.
    pub(crate) fn clear(&self, id: Option<u64>) -> usize {
        let mut rules = self.lock();
        let before = rules.standing.len();
        rules
            .standing
            .retain(|standing| id.is_some_and(|id| id != standing.id));
        before - rules.standing.len()
    }

    /// Rules in force.
    pub(crate) fn list(&self) -> Vec<Standing> {
        self.lock().standing.clone()
    }

    /// The rule that applies to this subject now, if any; uses it up by one.
    pub(crate) fn pick(
        &self,
        target: Target,
        subject: &str,
        account: Option<&str>,
    ) -> Option<Rule> {
        let mut guard = self.lock();
        if guard.standing.is_empty() {
            return None;
        }
        let Rules { standing, rng, .. } = &mut *guard;
        let at = standing.iter().position(|standing| {
            let rule = &standing.rule;
            rule.target == target
                && rule
                    .account
                    .as_deref()
                    .is_none_or(|want| Some(want) == account)
                && rule
                    .pattern
                    .as_deref()
                    .is_none_or(|pattern| matches(pattern, subject))
                && rule
                    .percent
                    .is_none_or(|percent| rng.random_range(0.0..100.0) < percent)
        })?;
        standing[at].applied += 1;
        let rule = standing[at].rule.clone();
        if let Some(count) = standing[at].rule.count.as_mut() {
            *count = count.saturating_sub(1);
            if *count == 0 {
                standing.remove(at);
            }
        }
        Some(rule)
    }

    fn lock(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the parts between the `*`s of the pattern occur in this order; in the query as well,
/// where the pattern has a `?`.
fn matches(pattern: &str, subject: &str) -> bool {
    let mut rest = match subject.split_once('?') {
        Some((path, _)) if !pattern.contains('?') => path,
        _ => subject,
    };
    for part in pattern.split('*') {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(pattern: &str, count: Option<u32>, percent: Option<f64>) -> Rule {
        Rule {
            target: Target::Request,
            pattern: Some(pattern.to_owned()),
            account: None,
            effect: Effect::Reset,
            count,
            percent,
            seconds: None,
            status: None,
            bytes: None,
            find: None,
            put: None,
        }
    }

    #[test]
    fn a_counted_rule_applies_that_often_and_is_gone() {
        let faults = Faults::new(1);
        faults.add(rule("GET */issues", Some(2), None));
        let subject = "GET /repos/a/b/issues";
        assert!(
            faults
                .pick(Target::Request, "GET /repos/a/b/pulls", None)
                .is_none()
        );
        assert!(faults.pick(Target::Delivery, subject, None).is_none());
        assert!(faults.pick(Target::Request, subject, None).is_some());
        assert!(faults.pick(Target::Request, subject, None).is_some());
        assert!(faults.pick(Target::Request, subject, None).is_none());
        assert!(faults.list().is_empty());
    }

    #[test]
    fn query_is_matched_by_patterns_that_name_it() {
        let subject = "GET /repos/a/b/issues?state=all&per_page=100";
        assert!(matches("GET */issues?*per_page=100", subject));
        assert!(!matches("GET */issues?*per_page=50", subject));
        assert!(matches("GET */issues", subject));
        assert!(!matches("state=all", subject), "it names no query");
    }

    #[test]
    fn a_share_is_decided_by_the_seed() {
        let run = |seed| {
            let faults = Faults::new(seed);
            faults.add(rule("", None, Some(30.0)));
            (0..200)
                .map(|_| faults.pick(Target::Request, "GET /x", None).is_some())
                .collect::<Vec<_>>()
        };
        assert_eq!(run(5), run(5));
        let hits = run(5).into_iter().filter(|hit| *hit).count();
        assert!((30..90).contains(&hits), "{hits} of 200 at 30 %");
    }

    #[test]
    fn one_rule_or_all_can_be_removed() {
        let faults = Faults::new(1);
        let first = faults.add(rule("a", None, None));
        faults.add(rule("b", None, None));
        assert_eq!(faults.clear(Some(first)), 1);
        assert_eq!(faults.list().len(), 1);
        assert_eq!(faults.clear(None), 1);
    }
}
