//! Ledger of the facts that happened in the simulated world.
//!
//! It has one row per account and dedupe key. A row states how the fact is observable: an event
//! was generated for it (`webhook`), the API shows it now (`poll`), or the API has shown it at
//! least once (`polled`). The ledger does not depend on a provider: the caller supplies the
//! visible containers (repositories, channels).

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::clock::{Clock, iso};
use super::lock::Mutex;

/// A fact to record.
pub(crate) struct Fact {
    /// Provider slug.
    pub(crate) source: &'static str,
    /// Login of the account it happened in.
    pub(crate) account: String,
    /// Signal kind.
    pub(crate) kind: &'static str,
    /// Dedupe key with the provider's prefix.
    pub(crate) key: String,
    /// Time of the fact, epoch seconds.
    pub(crate) at: i64,
    /// Container on whose visibility `poll` depends.
    pub(crate) container: u64,
    /// An event was generated for an active installation.
    pub(crate) webhook: bool,
    /// The API lists the fact until it is hidden.
    pub(crate) pollable: bool,
}

/// A row as the control API returns it.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct Entry {
    /// Position in the ledger, from 1.
    pub seq: u64,
    /// Provider slug.
    pub source: String,
    /// Login of the account it happened in.
    pub account: String,
    /// Signal kind.
    pub kind: String,
    /// Dedupe key of the fact.
    pub dedupe_key: String,
    /// Time of the fact, RFC 3339.
    pub time: String,
    /// An event was generated for an active installation.
    pub webhook: bool,
    /// The provider's API shows it now.
    pub poll: bool,
    /// When the API began to show it, RFC 3339 by the receivers' clock; null if it does not.
    ///
    /// A copy of an older resource keeps its time, so this may be long after the time of the fact.
    pub shown_since: Option<String>,
    /// A response of the provider's API has contained it, or a delivery without a response.
    pub polled: bool,
}

/// Filter of a ledger query; absent fields do not restrict it.
#[derive(Debug, Default, Clone, Deserialize)]
pub struct Filter {
    /// Provider slug.
    pub source: Option<String>,
    /// Account login.
    pub account: Option<String>,
    /// Signal kind.
    pub kind: Option<String>,
    /// Rows after this position.
    pub after: Option<u64>,
    /// Maximum number of rows.
    pub limit: Option<usize>,
    /// Only rows that are (or are not) observable: `webhook || poll`.
    pub expected: Option<bool>,
}

struct Row {
    fact: Fact,
    /// Deliveries of the fact that have not failed permanently.
    deliveries: u32,
    /// System time, in epoch seconds, since which the API shows the fact.
    shown_since: Option<i64>,
    polled: bool,
    moved_to: Option<u64>,
}

#[derive(Default)]
struct Rows {
    rows: Vec<Row>,
    keys: HashMap<(String, String), u64>,
}

/// Append-only ledger of facts.
#[derive(Default)]
pub(crate) struct Ledger {
    rows: Mutex<Rows>,
}

impl Ledger {
    /// Records a fact, or merges it into the row with the same account and key.
    pub(crate) fn record(&self, fact: Fact) -> u64 {
        let mut rows = self.rows.lock();
        let identity = (fact.account.clone(), fact.key.clone());
        if let Some(&seq) = rows.keys.get(&identity) {
            let row = &mut rows.rows[position(seq)];
            row.shown_since = row.shown_since.or_else(|| shown_since(&fact));
            row.deliveries += u32::from(fact.webhook);
            return seq;
        }
        let seq = rows.rows.len() as u64 + 1;
        rows.keys.insert(identity, seq);
        rows.rows.push(Row {
            deliveries: u32::from(fact.webhook),
            shown_since: shown_since(&fact),
            fact,
            polled: false,
            moved_to: None,
        });
        seq
    }

    /// Marks facts that the API no longer shows.
    pub(crate) fn hide(&self, facts: &[u64]) {
        let mut rows = self.rows.lock();
        for &seq in facts {
            let at = rows.current(seq);
            rows.rows[at].shown_since = None;
        }
    }

    /// Counts another delivery of these facts.
    pub(crate) fn add_delivery(&self, facts: &[u64]) {
        let mut rows = self.rows.lock();
        for &seq in facts {
            let at = rows.current(seq);
            rows.rows[at].deliveries += 1;
        }
    }

    /// Counts a delivery of these facts that the provider no longer retries.
    ///
    /// If an attempt reached the receiver and only the response was lost, the receiver may know
    /// the facts, so they count as polled.
    pub(crate) fn record_undelivered(&self, facts: &[u64], reached: bool) {
        let mut rows = self.rows.lock();
        for &seq in facts {
            let at = rows.current(seq);
            let row = &mut rows.rows[at];
            row.deliveries = row.deliveries.saturating_sub(1);
            row.polled |= reached;
        }
    }

    /// Marks facts that a response of the API has shown.
    pub(crate) fn mark_polled(&self, facts: impl IntoIterator<Item = u64>) {
        let mut rows = self.rows.lock();
        for seq in facts {
            let at = rows.current(seq);
            rows.rows[at].polled = true;
        }
    }

    /// Moves the visible facts of a container to the account that owns it now.
    pub(crate) fn move_container(&self, container: u64, account: &str) {
        let mut rows = self.rows.lock();
        let count = rows.rows.len();
        for at in 0..count {
            let row = &mut rows.rows[at];
            if row.fact.container != container
                || row.shown_since.is_none()
                || row.fact.account == account
            {
                continue;
            }
            row.shown_since = None;
            let fact = Fact {
                account: account.to_owned(),
                key: row.fact.key.clone(),
                webhook: false,
                pollable: true,
                ..row.fact
            };
            let seq = rows.rows.len() as u64 + 1;
            rows.keys
                .insert((fact.account.clone(), fact.key.clone()), seq);
            rows.rows.push(Row {
                shown_since: shown_since(&fact),
                fact,
                deliveries: 0,
                polled: false,
                moved_to: None,
            });
            rows.rows[at].moved_to = Some(seq);
        }
    }

    /// Rows that match the filter, in order.
    pub(crate) fn query(&self, filter: &Filter, visible: &HashSet<u64>) -> Vec<Entry> {
        let rows = self.rows.lock();
        let skip = usize::try_from(filter.after.unwrap_or(0)).unwrap_or(usize::MAX);
        rows.rows
            .iter()
            .enumerate()
            .skip(skip)
            .filter(|(_, row)| filter.accepts(&row.fact))
            .map(|(at, row)| row.entry(at as u64 + 1, visible))
            .filter(|entry| {
                filter
                    .expected
                    .is_none_or(|expected| expected == (entry.webhook || entry.poll))
            })
            .take(filter.limit.unwrap_or(usize::MAX))
            .collect()
    }

    /// The row at a position.
    pub(crate) fn entry(&self, seq: u64, visible: &HashSet<u64>) -> Option<Entry> {
        let rows = self.rows.lock();
        rows.rows
            .get(position(seq))
            .map(|row| row.entry(seq, visible))
    }

    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        self.rows.lock().rows.len()
    }
}

impl Rows {
    fn current(&self, seq: u64) -> usize {
        let mut at = position(seq);
        while let Some(next) = self.rows[at].moved_to {
            at = position(next);
        }
        at
    }
}

impl Row {
    fn entry(&self, seq: u64, visible: &HashSet<u64>) -> Entry {
        Entry {
            seq,
            source: self.fact.source.to_owned(),
            account: self.fact.account.clone(),
            kind: self.fact.kind.to_owned(),
            dedupe_key: self.fact.key.clone(),
            time: iso(self.fact.at),
            webhook: self.deliveries > 0,
            poll: self.shown_since.is_some() && visible.contains(&self.fact.container),
            shown_since: self.shown_since.map(iso),
            polled: self.polled,
        }
    }
}

impl Filter {
    fn accepts(&self, fact: &Fact) -> bool {
        let matches = |wanted: &Option<String>, value: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == value)
        };
        matches(&self.source, fact.source)
            && matches(&self.account, &fact.account)
            && matches(&self.kind, fact.kind)
    }
}

fn shown_since(fact: &Fact) -> Option<i64> {
    fact.pollable.then(Clock::system_seconds)
}

fn position(seq: u64) -> usize {
    usize::try_from(seq.saturating_sub(1)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(account: &str, key: &str, webhook: bool, pollable: bool) -> Fact {
        Fact {
            source: "github",
            account: account.to_owned(),
            kind: "issue_created",
            key: key.to_owned(),
            at: 0,
            container: 7,
            webhook,
            pollable,
        }
    }

    fn all(ledger: &Ledger) -> Vec<Entry> {
        ledger.query(&Filter::default(), &HashSet::from([7]))
    }

    #[test]
    fn repeated_fact_has_one_row() {
        let ledger = Ledger::default();
        let first = ledger.record(fact("a", "k", false, true));
        let second = ledger.record(fact("a", "k", true, false));
        assert_eq!(first, second);
        let rows = all(&ledger);
        assert_eq!(rows.len(), 1);
        assert!(rows[0].webhook && rows[0].poll);
        assert_ne!(first, ledger.record(fact("b", "k", true, true)));
    }

    #[test]
    fn poll_requires_visible_fact_and_container() {
        let ledger = Ledger::default();
        let seq = ledger.record(fact("a", "k", false, true));
        assert!(all(&ledger)[0].poll);
        assert!(!ledger.query(&Filter::default(), &HashSet::new())[0].poll);
        ledger.mark_polled([seq]);
        ledger.hide(&[seq]);
        let row = &all(&ledger)[0];
        assert!(!row.poll && row.polled);
    }

    #[test]
    fn older_fact_is_shown_since_it_appears() {
        let ledger = Ledger::default();
        let before = iso(Clock::system_seconds());
        let seq = ledger.record(fact("a", "k", false, true));
        let since = all(&ledger)[0].shown_since.clone();
        assert!(since.is_some_and(|since| since >= before), "not its time");
        ledger.hide(&[seq]);
        assert_eq!(all(&ledger)[0].shown_since, None);
        ledger.record(fact("a", "k", false, true));
        assert!(all(&ledger)[0].shown_since.is_some());
    }

    #[test]
    fn webhook_holds_until_all_deliveries_fail() {
        let ledger = Ledger::default();
        let seq = ledger.record(fact("a", "k", true, false));
        ledger.add_delivery(&[seq]);
        ledger.record_undelivered(&[seq], false);
        assert!(all(&ledger)[0].webhook);
        ledger.record_undelivered(&[seq], false);
        assert!(!all(&ledger)[0].webhook);
    }

    #[test]
    fn moved_container_takes_its_visible_facts_along() {
        let ledger = Ledger::default();
        let seq = ledger.record(fact("a", "k", true, true));
        ledger.move_container(7, "b");
        let rows = all(&ledger);
        assert_eq!(
            (rows[0].account.as_str(), rows[0].webhook, rows[0].poll),
            ("a", true, false)
        );
        assert_eq!(
            (rows[1].account.as_str(), rows[1].webhook, rows[1].poll),
            ("b", false, true)
        );
        ledger.hide(&[seq]);
        assert!(!all(&ledger)[1].poll);
    }

    #[test]
    fn query_resumes_after_a_position() {
        let ledger = Ledger::default();
        for key in ["1", "2", "3"] {
            ledger.record(fact("a", key, true, false));
        }
        let filter = Filter {
            after: Some(1),
            limit: Some(1),
            ..Filter::default()
        };
        let rows = ledger.query(&filter, &HashSet::new());
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].dedupe_key, "2");
    }
}
