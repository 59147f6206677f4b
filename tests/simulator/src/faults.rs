//! Fault injection: rules that make requests and deliveries fail.
//!
//! A rule applies to the next `count` matching subjects, or to `percent` of them, chosen by a
//! seeded generator. Rules are evaluated in the order of their addition, and the first match
//! applies. Each provider defines how an effect looks on the wire.

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::lock::Mutex;

/// Subjects of a rule.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Request of a client; the subject is `METHOD /path`, for some providers with `?query`.
    Request,
    /// Delivery of the simulator; the subject is `event.action`.
    Delivery,
}

/// Effect of a fault.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Request: the hourly quota is exhausted.
    PrimaryLimit,
    /// Request: secondary limit with `Retry-After`.
    SecondaryLimit,
    /// Request: secondary limit without `Retry-After`.
    SecondaryLimitBare,
    /// Request: 429 with `Retry-After`.
    TooManyRequests,
    /// Request: the rule's `status`, 500 by default.
    Status,
    /// Request: the response is delayed by `seconds`.
    Slow,
    /// Request: half of the body is sent immediately, the other half after `seconds`.
    SlowBody,
    /// Request: the socket is closed before the request is processed.
    Reset,
    /// Request: processed, but only half of the response is sent.
    Truncate,
    /// Request: processed, but the response is never sent.
    LoseResponse,
    /// Request and delivery: each `find` in the body becomes `put`, even if it is not JSON then.
    Replace,
    /// Request: the id of each list row that contains `find` becomes an object.
    PoisonRow,
    /// Request: 401 as for an invalid token.
    Unauthorized,
    /// Request: 403 as for a missing permission.
    Forbidden,
    /// Delivery: not sent, and logged as failed.
    Drop,
    /// Delivery: not sent and not logged.
    DropSilently,
    /// Delivery: sent twice.
    Duplicate,
    /// Delivery: sent `seconds` later.
    Delay,
    /// Delivery: sent after the next one of the same account.
    Reorder,
    /// Delivery: signed with a wrong secret.
    WrongSignature,
    /// Delivery: signed with an expired timestamp.
    OldSignature,
    /// Delivery: sent without a signature.
    NoSignature,
    /// Delivery: its token has the algorithm `none` and no signature.
    UnsignedToken,
    /// Delivery: its token has an HMAC whose secret is the public key.
    PublicKeyToken,
    /// Delivery: its token is for another receiver.
    WrongAudience,
    /// Delivery: its token names another service account.
    ForeignAccount,
    /// Delivery: its token is signed with a key that is not published.
    UnknownKey,
    /// Delivery: signed with the key of another sender.
    ForeignKey,
    /// Delivery: its body is serialised anew after it was signed.
    Reserialized,
    /// Delivery: names another organization than that of its subscription.
    OtherOrganization,
    /// Delivery: of a subscription that does not exist.
    Stranger,
    /// Delivery: names another resource than its subscription.
    WrongResource,
    /// Delivery: padded to `bytes` (26 MiB by default).
    Oversize,
}

/// A fault rule.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Requests or deliveries.
    pub target: Target,
    /// Part of the subject, with `*` as a wildcard; by default, every subject matches.
    #[serde(default)]
    pub pattern: Option<String>,
    /// Restricts the rule to deliveries of an account or to requests with its tokens.
    #[serde(default)]
    pub account: Option<String>,
    /// Effect of the fault.
    pub effect: Effect,
    /// Number of applications before the rule is removed; unlimited by default.
    #[serde(default)]
    pub count: Option<u32>,
    /// Percentage of matching subjects to which the rule applies, 0 to 100.
    #[serde(default)]
    pub percent: Option<f64>,
    /// `Retry-After` or delay; for a reordered delivery, the maximum delay.
    #[serde(default)]
    pub seconds: Option<f64>,
    /// Status for [`Effect::Status`].
    #[serde(default)]
    pub status: Option<u16>,
    /// Size for [`Effect::Oversize`].
    #[serde(default)]
    pub bytes: Option<usize>,
    /// Text that [`Effect::Replace`] and [`Effect::PoisonRow`] search for.
    #[serde(default)]
    pub find: Option<String>,
    /// Replacement of [`Effect::Replace`].
    #[serde(default)]
    pub put: Option<String>,
}

impl Rule {
    /// Applies the effects that change a body.
    pub(crate) fn apply_to_body(&self, body: Bytes) -> Bytes {
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

/// Replaces the ids of rows that contain the text.
fn poison(value: &mut Value, find: &str) {
    match value {
        Value::Array(rows) => {
            for row in rows.iter_mut().filter(|row| row.to_string().contains(find)) {
                let mut is_row = false;
                for name in ["id", "ts", "messageId"] {
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

/// A rule in effect.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ActiveRule {
    /// Identifier for removal.
    pub(crate) id: u64,
    /// Number of applications so far.
    pub(crate) applied: u64,
    /// The rule; `count` is the number of remaining applications.
    #[serde(flatten)]
    pub(crate) rule: Rule,
}

struct Rules {
    next_id: u64,
    active: Vec<ActiveRule>,
    rng: StdRng,
}

/// All active rules.
pub(crate) struct Faults {
    rules: Mutex<Rules>,
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        Self {
            rules: Mutex::new(Rules {
                next_id: 1,
                active: Vec::new(),
                rng,
            }),
        }
    }

    /// Adds a rule and returns its id.
    pub(crate) fn add(&self, rule: Rule) -> u64 {
        let mut rules = self.rules.lock();
        let id = rules.next_id;
        rules.next_id += 1;
        rules.active.push(ActiveRule {
            id,
            applied: 0,
            rule,
        });
        id
    }

    /// Removes one rule or all, and returns the number of removed rules.
    pub(crate) fn clear(&self, id: Option<u64>) -> usize {
        let mut rules = self.rules.lock();
        let before = rules.active.len();
        rules
            .active
            .retain(|active| id.is_some_and(|id| id != active.id));
        before - rules.active.len()
    }

    /// Active rules.
    pub(crate) fn list(&self) -> Vec<ActiveRule> {
        self.rules.lock().active.clone()
    }

    /// Selects the rule that applies to a subject, and counts the application.
    pub(crate) fn pick(
        &self,
        target: Target,
        subject: &str,
        account: Option<&str>,
    ) -> Option<Rule> {
        let mut guard = self.rules.lock();
        if guard.active.is_empty() {
            return None;
        }
        let Rules { active, rng, .. } = &mut *guard;
        let at = active.iter().position(|active| {
            let rule = &active.rule;
            rule.target == target
                && rule
                    .account
                    .as_deref()
                    .is_none_or(|wanted| Some(wanted) == account)
                && rule
                    .pattern
                    .as_deref()
                    .is_none_or(|pattern| matches(pattern, subject))
                && rule
                    .percent
                    .is_none_or(|percent| rng.random_range(0.0..100.0) < percent)
        })?;
        active[at].applied += 1;
        let rule = active[at].rule.clone();
        if let Some(count) = active[at].rule.count.as_mut() {
            *count = count.saturating_sub(1);
            if *count == 0 {
                active.remove(at);
            }
        }
        Some(rule)
    }
}

/// Whether a subject contains the pattern's parts in order.
///
/// The query is ignored unless the pattern has a `?`.
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
    fn counted_rule_is_removed_after_its_last_application() {
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
    fn query_is_ignored_unless_pattern_has_one() {
        let subject = "GET /repos/a/b/issues?state=all&per_page=100";
        assert!(matches("GET */issues?*per_page=100", subject));
        assert!(!matches("GET */issues?*per_page=50", subject));
        assert!(matches("GET */issues", subject));
        assert!(!matches("state=all", subject), "the pattern has no `?`");
    }

    #[test]
    fn seed_decides_which_subjects_fail() {
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
    fn clear_removes_one_rule_or_all() {
        let faults = Faults::new(1);
        let first = faults.add(rule("a", None, None));
        faults.add(rule("b", None, None));
        assert_eq!(faults.clear(Some(first)), 1);
        assert_eq!(faults.list().len(), 1);
        assert_eq!(faults.clear(None), 1);
    }
}
