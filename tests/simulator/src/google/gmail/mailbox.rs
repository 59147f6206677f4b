//! A mailbox: its messages, and the history of their changes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::content::{Content, Origin};
use super::labels::{LabelNames, Labels};
use super::watch::Watch;

const DAY: i64 = 24 * 3_600;
/// Largest distance between two history ids.
const MAX_GAP: u64 = 40;
/// Bits of a message's id below the time of its creation in milliseconds.
const RANDOM_BITS: u32 = 20;

/// A message. Its content is generated from its id unless an action wrote it.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) id: u64,
    pub(crate) thread: u64,
    pub(crate) labels: Labels,
    /// Time of receipt, or of the `Date` header of imported mail, in epoch milliseconds.
    pub(crate) internal_date: i64,
    /// History id of its last change.
    pub(crate) history_id: u64,
    /// Ledger row.
    pub(crate) fact: Option<u64>,
    /// Content that an action wrote.
    pub(crate) written: Option<Box<Content>>,
}

impl Message {
    /// Its addition or deletion as a change.
    pub(crate) const fn change(&self, kind: ChangeKind) -> Change {
        Change {
            kind,
            message: self.id,
            thread: self.thread,
            labels: self.labels,
        }
    }
}

/// Type of a change in the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    MessageAdded,
    MessageDeleted,
    LabelAdded,
    LabelRemoved,
}

/// A change of one message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change {
    pub(crate) kind: ChangeKind,
    pub(crate) message: u64,
    pub(crate) thread: u64,
    /// Labels that were added or removed; those of the message if it was added or deleted.
    pub(crate) labels: Labels,
}

/// A record of the history. Internal changes have a record without changes of messages.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) id: u64,
    /// Epoch seconds.
    pub(crate) at: i64,
    pub(crate) changes: Vec<Change>,
}

/// A mailbox.
#[derive(Debug)]
pub(crate) struct Mailbox {
    /// Id of the owner's account.
    pub(crate) owner: String,
    pub(crate) address: String,
    /// Container of its facts in the ledger.
    pub(crate) container: u64,
    pub(crate) names: LabelNames,
    pub(crate) messages: BTreeMap<u64, Message>,
    pub(crate) watch: Option<Watch>,
    /// Time of the last notification, in epoch milliseconds.
    pub(crate) notified: Option<i64>,
    /// Messages by internal date.
    by_date: BTreeSet<(i64, u64)>,
    /// Messages by thread.
    by_thread: BTreeSet<(u64, u64)>,
    threads: usize,
    records: VecDeque<Record>,
    /// Newest history id.
    history_id: u64,
    /// Id of the newest record that is no longer kept.
    dropped: u64,
    /// History id up to which watches have been informed.
    published: u64,
    rng: StdRng,
}

impl Mailbox {
    pub(crate) fn new(owner: &str, address: &str, container: u64, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let history_id = rng.random_range(1_000..1_000_000);
        Self {
            owner: owner.to_owned(),
            address: address.to_owned(),
            container,
            names: LabelNames::default(),
            messages: BTreeMap::new(),
            watch: None,
            notified: None,
            by_date: BTreeSet::new(),
            by_thread: BTreeSet::new(),
            threads: 0,
            records: VecDeque::new(),
            history_id,
            dropped: history_id - 1,
            published: history_id,
            rng,
        }
    }

    /// A new message id, which begins with the time of creation.
    pub(crate) fn new_id(&mut self, created: i64) -> u64 {
        let time = created.unsigned_abs() << RANDOM_BITS;
        loop {
            let id = time | self.rng.random_range(0..1_u64 << RANDOM_BITS);
            if !self.messages.contains_key(&id) && !self.by_thread.contains(&(id, id)) {
                return id;
            }
        }
    }

    /// Id of a notification.
    pub(crate) fn publication_id(&mut self) -> String {
        let number: u64 = self.rng.random_range(0..1_000_000_000_000_000);
        format!("2{number:015}")
    }

    /// A random number below a bound.
    pub(crate) fn random(&mut self, bound: usize) -> usize {
        self.rng.random_range(0..bound.max(1))
    }

    /// Adds a message without a record of the history.
    pub(crate) fn insert(&mut self, message: Message) {
        self.threads += usize::from(!self.has_thread(message.thread));
        self.by_thread.insert((message.thread, message.id));
        self.by_date.insert((message.internal_date, message.id));
        self.messages.insert(message.id, message);
    }

    /// Adds a message with a record.
    pub(crate) fn add(&mut self, message: Message, at: i64) -> u64 {
        let change = message.change(ChangeKind::MessageAdded);
        self.insert(message);
        self.commit(at, vec![change])
    }

    /// Removes a message without a record, and returns the change for one.
    pub(crate) fn take(&mut self, id: u64) -> Option<(Message, Change)> {
        let message = self.messages.remove(&id)?;
        self.by_date.remove(&(message.internal_date, id));
        self.by_thread.remove(&(message.thread, id));
        self.threads -= usize::from(!self.has_thread(message.thread));
        let change = message.change(ChangeKind::MessageDeleted);
        Some((message, change))
    }

    /// Changes the labels of a message; returns the record's id if that changed anything.
    pub(crate) fn relabel(&mut self, id: u64, add: Labels, remove: Labels, at: i64) -> Option<u64> {
        let message = self.messages.get_mut(&id)?;
        let (added, removed) = (add.without(message.labels), remove.common(message.labels));
        message.labels = message.labels.without(removed).with(added);
        let thread = message.thread;
        let change = |kind, labels| Change {
            kind,
            message: id,
            thread,
            labels,
        };
        let changes: Vec<Change> = [
            change(ChangeKind::LabelAdded, added),
            change(ChangeKind::LabelRemoved, removed),
        ]
        .into_iter()
        .filter(|change| !change.labels.is_empty())
        .collect();
        (!changes.is_empty()).then(|| self.commit(at, changes))
    }

    /// Adds a record to the history and returns its id.
    pub(crate) fn commit(&mut self, at: i64, changes: Vec<Change>) -> u64 {
        self.history_id += self.rng.random_range(1..=MAX_GAP);
        let id = self.history_id;
        for change in &changes {
            if let Some(message) = self.messages.get_mut(&change.message) {
                message.history_id = id;
            }
        }
        self.records.push_back(Record { id, at, changes });
        id
    }

    /// Drops records older than the retention, and returns the messages that they added.
    ///
    /// Internal changes move the history id of a quiet mailbox, so that a client that polls it
    /// keeps a valid id.
    pub(crate) fn trim(&mut self, now: i64, retention: i64) -> Vec<u64> {
        let newest = self.records.back().map_or(0, |record| record.at);
        if newest + DAY.min(retention) <= now {
            self.commit(now, Vec::new());
        }
        self.drop_records(|record| record.at < now - retention)
    }

    /// Drops all records up to now, and returns the messages that they added.
    pub(crate) fn expire_history(&mut self, now: i64) -> Vec<u64> {
        let added = self.drop_records(|_| true);
        self.commit(now, Vec::new());
        added
    }

    fn drop_records(&mut self, is_old: impl Fn(&Record) -> bool) -> Vec<u64> {
        let mut added = Vec::new();
        while let Some(record) = self.records.pop_front_if(|record| is_old(record)) {
            self.dropped = record.id;
            let changes = record.changes.iter();
            let additions = changes.filter(|change| change.kind == ChangeKind::MessageAdded);
            added.extend(additions.map(|change| change.message));
        }
        added
    }

    /// Records after a history id; `None` if older ones are missing or the id is unknown.
    pub(crate) fn records_after(&self, start: u64) -> Option<impl Iterator<Item = &Record>> {
        if start <= self.dropped || start > self.history_id {
            return None;
        }
        let first = self.records.partition_point(|record| record.id <= start);
        Some(self.records.range(first..))
    }

    /// Changes of the kept history.
    pub(crate) fn changes(&self) -> impl DoubleEndedIterator<Item = &Change> {
        self.records.iter().flat_map(|record| &record.changes)
    }

    pub(crate) const fn history_id(&self) -> u64 {
        self.history_id
    }

    /// Content of a message.
    pub(crate) fn content(&self, message: &Message) -> Content {
        match &message.written {
            Some(written) => Content::clone(written),
            None => Content::generate(&self.origin(message)),
        }
    }

    pub(crate) fn origin(&self, message: &Message) -> Origin<'_> {
        Origin {
            id: message.id,
            thread: message.thread,
            labels: message.labels,
            internal_date: message.internal_date,
            owner: &self.address,
        }
    }

    /// Whether changes are published now; `now` is in epoch milliseconds.
    ///
    /// Notifications within the interval after the last one are dropped.
    pub(crate) fn publishes(&mut self, changes: &[Change], now: i64, interval: i64) -> bool {
        let Some(watch) = self.watch.filter(|watch| watch.expires > now) else {
            return false;
        };
        let is_reported = changes.iter().any(|change| {
            let message = self.messages.get(&change.message);
            let current = message.map_or(Labels::NONE, |message| message.labels);
            watch.reports(change.labels.with(current))
        });
        if !is_reported {
            return false;
        }
        if self.notified.is_some_and(|last| now - last < interval) {
            return false;
        }
        self.notified = Some(now);
        true
    }

    /// Changes since the last call.
    pub(crate) fn take_unpublished(&mut self) -> Vec<Change> {
        let first = self
            .records
            .partition_point(|record| record.id <= self.published);
        self.published = self.history_id;
        let records = self.records.range(first..);
        records
            .flat_map(|record| record.changes.iter().copied())
            .collect()
    }

    /// Messages before a position, newest first.
    pub(crate) fn newest_first(
        &self,
        before: Option<(i64, u64)>,
    ) -> impl Iterator<Item = &Message> {
        let end = before.unwrap_or((i64::MAX, u64::MAX));
        let ids = self.by_date.range(..end).rev();
        ids.filter_map(|(_, id)| self.messages.get(id))
    }

    /// Messages of a thread, oldest first.
    pub(crate) fn thread(&self, thread: u64) -> impl Iterator<Item = &Message> {
        let ids = self.by_thread.range((thread, 0)..=(thread, u64::MAX));
        ids.filter_map(|(_, id)| self.messages.get(id))
    }

    fn has_thread(&self, thread: u64) -> bool {
        self.thread(thread).next().is_some()
    }

    pub(crate) const fn thread_count(&self) -> usize {
        self.threads
    }
}

#[cfg(test)]
mod tests;
