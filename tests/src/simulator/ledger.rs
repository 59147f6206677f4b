//! The ledger: what really happened in the simulated world.
//!
//! Promises one row per fact and account, identified by its dedupe key, with
//! three ways it can have become known: an event was generated for it
//! (`webhook`), the API still shows it (`poll`), the API has shown it at least
//! once (`polled`). Knows nothing of any provider: visibility of the container
//! a fact lives in (a repository, a channel) is asked from the caller.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::clock::iso;

/// A fact to be written down.
pub(crate) struct Fact {
    /// Provider slug.
    pub(crate) source: &'static str,
    /// Login of the account it happened in.
    pub(crate) account: String,
    /// Signal kind.
    pub(crate) kind: &'static str,
    /// Identity of the fact, including the provider's prefix.
    pub(crate) key: String,
    /// When it happened, epoch seconds.
    pub(crate) at: i64,
    /// Container whose visibility decides whether polling can see the fact.
    pub(crate) container: u64,
    /// An event was generated for an active installation.
    pub(crate) webhook: bool,
    /// The API shows the fact as long as it is not hidden.
    pub(crate) pollable: bool,
}

/// One row as the control API shows it.
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
    /// Identity of the fact.
    pub dedupe_key: String,
    /// When it happened, RFC 3339.
    pub time: String,
    /// An event for it was generated for an active installation.
    pub webhook: bool,
    /// Still visible through the provider's API.
    pub poll: bool,
    /// Some answer of the provider's API has contained it, or a delivery whose answer was
    /// lost.
    pub polled: bool,
}

/// Which rows a query wants; empty fields do not restrict.
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
    /// At most this many rows.
    pub limit: Option<usize>,
    /// Only rows that are (or are not) reachable: `webhook || poll`.
    pub expected: Option<bool>,
}

struct Row {
    fact: Fact,
    /// Deliveries that tell it and were not given up.
    deliveries: u32,
    shown: bool,
    polled: bool,
    moved_to: Option<u64>,
}

#[derive(Default)]
struct Rows {
    rows: Vec<Row>,
    keys: HashMap<(String, String), u64>,
}

/// The append-only book; see the module's promise.
#[derive(Default)]
pub(crate) struct Ledger {
    rows: Mutex<Rows>,
}

impl Ledger {
    /// Writes a fact down, or joins it with the row of the same identity.
    pub(crate) fn record(&self, fact: Fact) -> u64 {
        let mut rows = self.lock();
        let identity = (fact.account.clone(), fact.key.clone());
        if let Some(&seq) = rows.keys.get(&identity) {
            let row = &mut rows.rows[position(seq)];
            row.shown |= fact.pollable;
            row.deliveries += u32::from(fact.webhook);
            return seq;
        }
        let seq = rows.rows.len() as u64 + 1;
        rows.keys.insert(identity, seq);
        let shown = fact.pollable;
        rows.rows.push(Row {
            deliveries: u32::from(fact.webhook),
            fact,
            shown,
            polled: false,
            moved_to: None,
        });
        seq
    }

    /// The API no longer shows these facts.
    pub(crate) fn hide(&self, facts: &[u64]) {
        let mut rows = self.lock();
        for &seq in facts {
            let at = rows.current(seq);
            rows.rows[at].shown = false;
        }
    }

    /// One more delivery tells these facts.
    pub(crate) fn tell_again(&self, facts: &[u64]) {
        let mut rows = self.lock();
        for &seq in facts {
            let at = rows.current(seq);
            rows.rows[at].deliveries += 1;
        }
    }

    /// The provider has given up a delivery that tells these facts. Where an attempt reached the
    /// receiver, whose answer was lost, they may be known all the same.
    pub(crate) fn give_up(&self, facts: &[u64], reached: bool) {
        let mut rows = self.lock();
        for &seq in facts {
            let at = rows.current(seq);
            let row = &mut rows.rows[at];
            row.deliveries = row.deliveries.saturating_sub(1);
            row.polled |= reached;
        }
    }

    /// An answer of the API has just shown these facts.
    pub(crate) fn mark_polled(&self, facts: impl IntoIterator<Item = u64>) {
        let mut rows = self.lock();
        for seq in facts {
            let at = rows.current(seq);
            rows.rows[at].polled = true;
        }
    }

    /// A container now belongs to another account: what the API shows of it is
    /// from now on that account's.
    pub(crate) fn rehome(&self, container: u64, account: &str) {
        let mut rows = self.lock();
        let count = rows.rows.len();
        for at in 0..count {
            let row = &mut rows.rows[at];
            if row.fact.container != container || !row.shown || row.fact.account == account {
                continue;
            }
            row.shown = false;
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
                fact,
                deliveries: 0,
                shown: true,
                polled: false,
                moved_to: None,
            });
            rows.rows[at].moved_to = Some(seq);
        }
    }

    /// Rows that match, in order, and the position of the last row examined.
    pub(crate) fn query(&self, filter: &Filter, visible: &HashSet<u64>) -> Vec<Entry> {
        let rows = self.lock();
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
                    .is_none_or(|want| want == (entry.webhook || entry.poll))
            })
            .take(filter.limit.unwrap_or(usize::MAX))
            .collect()
    }

    /// One row, wherever its container lives now.
    pub(crate) fn entry(&self, seq: u64, visible: &HashSet<u64>) -> Option<Entry> {
        let rows = self.lock();
        rows.rows
            .get(position(seq))
            .map(|row| row.entry(seq, visible))
    }

    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        self.lock().rows.len()
    }

    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
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
            poll: self.shown && visible.contains(&self.fact.container),
            polled: self.polled,
        }
    }
}

impl Filter {
    fn accepts(&self, fact: &Fact) -> bool {
        let is = |want: &Option<String>, have: &str| want.as_ref().is_none_or(|want| want == have);
        is(&self.source, fact.source)
            && is(&self.account, &fact.account)
            && is(&self.kind, fact.kind)
    }
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
    fn the_same_fact_is_one_row_however_often_it_is_recorded() {
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
    fn polling_needs_a_visible_fact_in_a_visible_container() {
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
    fn a_fact_of_two_deliveries_is_told_until_both_are_given_up() {
        let ledger = Ledger::default();
        let seq = ledger.record(fact("a", "k", true, false));
        ledger.tell_again(&[seq]);
        ledger.give_up(&[seq], false);
        assert!(all(&ledger)[0].webhook);
        ledger.give_up(&[seq], false);
        assert!(!all(&ledger)[0].webhook);
    }

    #[test]
    fn a_moved_container_takes_its_visible_facts_to_the_new_account() {
        let ledger = Ledger::default();
        let seq = ledger.record(fact("a", "k", true, true));
        ledger.rehome(7, "b");
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
    fn a_query_resumes_after_a_position() {
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
