//! The queue of a run's streams, grouped by the rate limit of their next call.
//!
//! The next calls of a group's streams share a rate limit. A group has the streams of one kind that
//! this run has not read yet, or the streams whose next call is known to be one operation. When a
//! call is rate limited, its group is blocked and the other groups are read meanwhile.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, Utc};
use shared::connectors::SyncPage;
use shared::db::cursors::StreamCursor;
use shared::model::LimitScope;

/// A stream to be read.
#[derive(Debug)]
pub(super) struct StreamTask {
    pub(super) stream: StreamCursor,
    /// The pass that reads it.
    pub(super) pass: Pass,
    /// Whether the cursor belongs to an earlier, unfinished run.
    ///
    /// The stream is first read to that run's upper bound.
    pub(super) is_left_behind: bool,
    /// Whether its cursor has already expired in this run.
    pub(super) has_restarted: bool,
    /// Whether an earlier slice or run has left a part of it unread, or it has no cursor.
    pub(super) has_backlog: bool,
    /// Its next page, if it has been fetched already.
    pub(super) fetched: Option<SyncPage>,
    /// The last call to the provider for its latest page.
    pub(super) last_call: Option<&'static str>,
}

impl StreamTask {
    /// A stream that this run has not read yet.
    pub(super) const fn new(stream: StreamCursor, pass: Pass) -> Self {
        Self {
            has_backlog: stream.cursor.is_none() || stream.pending_upper_bound.is_some(),
            stream,
            pass,
            is_left_behind: false,
            has_restarted: false,
            fetched: None,
            last_call: None,
        }
    }

    /// Whether the read is long because it does not continue at the position of the last one.
    pub(super) const fn is_resync(&self) -> bool {
        self.has_backlog || self.has_restarted
    }
}

/// The pass that reads a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// Lists the other streams.
    Root,
    /// Reads new facts.
    Incremental,
    /// Reads facts that earlier reads did not find, with a separate cursor.
    Reconciliation,
}

/// A group of streams whose next calls share a rate limit.
///
/// Groups take turns in this order. Among fresh groups, the one whose first stream was read least
/// recently comes first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LimitGroup {
    /// Streams of one kind that are not read yet in this run. The kind is the key's first part.
    Fresh(String),
    /// Streams whose next call, this operation, was rate limited.
    Limited(&'static str),
    /// Streams with more pages to read.
    Started,
}

#[derive(Debug, Default)]
struct Tasks {
    queue: VecDeque<StreamTask>,
    /// When the group's calls are allowed again.
    resumes_at: Option<DateTime<Utc>>,
}

/// The streams that a run has not finished.
#[derive(Debug, Default)]
pub(super) struct StreamQueue {
    groups: BTreeMap<LimitGroup, Tasks>,
    /// When the account's calls are allowed again.
    resumes_at: Option<DateTime<Utc>>,
}

impl StreamQueue {
    /// Adds a stream that this run has not read yet.
    pub(super) fn push_fresh(&mut self, task: StreamTask) {
        let key = &task.stream.spec.key;
        let kind = key.split_once(':').map_or(key.as_str(), |(kind, _)| kind);
        let group = LimitGroup::Fresh(kind.to_owned());
        self.groups.entry(group).or_default().queue.push_back(task);
    }

    /// Adds a stream with more pages to read.
    pub(super) fn push_started(&mut self, task: StreamTask) {
        let group = self.groups.entry(LimitGroup::Started).or_default();
        group.queue.push_back(task);
    }

    /// Returns a stream whose call was rate limited.
    pub(super) fn push_limited(
        &mut self,
        from: LimitGroup,
        task: StreamTask,
        scope: LimitScope,
        operation: &'static str,
        resumes_at: DateTime<Utc>,
    ) {
        if scope != LimitScope::Operation {
            self.resumes_at = self.resumes_at.max(Some(resumes_at));
            self.groups.entry(from).or_default().queue.push_front(task);
            return;
        }
        let group = match from {
            LimitGroup::Started => LimitGroup::Limited(operation),
            known => known,
        };
        let tasks = self.groups.entry(group).or_default();
        tasks.queue.push_front(task);
        tasks.resumes_at = tasks.resumes_at.max(Some(resumes_at));
    }

    /// Takes the next stream whose call is not known to be limited, with its group.
    pub(super) fn pop(&mut self, now: DateTime<Utc>) -> Option<(LimitGroup, StreamTask)> {
        if self.resumes_at.is_some_and(|at| at > now) {
            return None;
        }
        let allowed = self.groups.iter_mut().filter(|(_, tasks)| {
            !tasks.queue.is_empty() && tasks.resumes_at.is_none_or(|at| at <= now)
        });
        // `min_by_key` returns the first of equal groups.
        let (group, tasks) = allowed.min_by_key(|(group, tasks)| {
            let first = tasks.queue.front();
            match group {
                LimitGroup::Fresh(_) => (0, first.and_then(|task| task.stream.read_through)),
                LimitGroup::Limited(_) => (1, None),
                LimitGroup::Started => (2, None),
            }
        })?;
        Some((group.clone(), tasks.queue.pop_front()?))
    }

    /// The earliest time at which a queued stream can be read; `None` if the queue is empty.
    pub(super) fn resumes_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.groups
            .values()
            .filter(|tasks| !tasks.queue.is_empty())
            .map(|tasks| tasks.resumes_at.max(self.resumes_at).unwrap_or(now))
            .min()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shared::db::cursors::PageSize;
    use shared::model::StreamSpec;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).expect("a time")
    }

    fn task(key: &str) -> StreamTask {
        let stream = StreamCursor {
            spec: StreamSpec {
                key: key.to_owned(),
                resource_id: None,
                target: serde_json::Value::Null,
            },
            cursor: None,
            version: 0,
            backfill_from: at(0),
            resync_from: None,
            pending_upper_bound: None,
            read_through: None,
            reconciled_through: None,
            is_reconciliation_denied: false,
            requested_at: None,
            page_size: PageSize::default(),
        };
        StreamTask::new(stream, Pass::Incremental)
    }

    fn key((_, task): (LimitGroup, StreamTask)) -> String {
        task.stream.spec.key
    }

    #[test]
    fn first_pages_precede_second_pages() {
        let mut queue = StreamQueue::default();
        queue.push_fresh(task("issues:1"));
        queue.push_started(task("issues:2"));
        queue.push_fresh(task("pulls:1"));
        let order: Vec<String> = std::iter::from_fn(|| queue.pop(at(0)).map(key)).collect();
        assert_eq!(order, ["issues:1", "pulls:1", "issues:2"]);
        assert_eq!(queue.resumes_at(at(0)), None);
    }

    #[test]
    fn least_recently_read_stream_comes_first() {
        let mut queue = StreamQueue::default();
        for (key, read_through) in [("a:1", Some(5)), ("a:2", Some(9)), ("b:1", Some(3))] {
            let mut task = task(key);
            task.stream.read_through = read_through.map(at);
            queue.push_fresh(task);
        }
        queue.push_fresh(task("c:1"));
        let order: Vec<String> = std::iter::from_fn(|| queue.pop(at(0)).map(key)).collect();
        assert_eq!(order, ["c:1", "b:1", "a:1", "a:2"], "over all kinds");
    }

    #[test]
    fn limited_operation_delays_no_other() {
        let mut queue = StreamQueue::default();
        queue.push_fresh(task("messages:1"));
        queue.push_fresh(task("messages:2"));
        let (group, first) = queue.pop(at(0)).expect("a stream");
        queue.push_limited(group, first, LimitScope::Operation, "history", at(5));
        assert_eq!(queue.pop(at(4)).map(key), None, "the group is blocked");
        queue.push_started(task("messages:3"));
        let (group, started) = queue.pop(at(4)).expect("another operation");
        assert_eq!(started.stream.spec.key, "messages:3");
        queue.push_limited(group, started, LimitScope::Operation, "replies", at(9));
        assert_eq!(queue.resumes_at(at(4)), Some(at(5)));
        assert_eq!(queue.pop(at(5)).map(key), Some("messages:1".to_owned()));
        assert_eq!(queue.pop(at(5)).map(key), Some("messages:2".to_owned()));
        assert_eq!(queue.pop(at(8)).map(key), None);
        assert_eq!(queue.pop(at(9)).map(key), Some("messages:3".to_owned()));
    }

    #[test]
    fn limited_account_delays_every_stream() {
        let mut queue = StreamQueue::default();
        queue.push_fresh(task("issues:1"));
        queue.push_started(task("pulls:1"));
        let (group, first) = queue.pop(at(0)).expect("a stream");
        queue.push_limited(group, first, LimitScope::Account, "list", at(60));
        assert_eq!(queue.pop(at(59)).map(key), None);
        assert_eq!(queue.resumes_at(at(59)), Some(at(60)));
        assert_eq!(queue.pop(at(60)).map(key), Some("issues:1".to_owned()));
    }

    #[test]
    fn read_without_position_is_a_resync() {
        let read = |cursor: Option<u8>, pending: Option<i64>| {
            let mut stream = task("events:1").stream;
            stream.cursor = cursor.map(serde_json::Value::from);
            stream.pending_upper_bound = pending.map(at);
            StreamTask::new(stream, Pass::Incremental)
        };
        let mut latest = read(Some(1), None);
        latest.stream.pending_upper_bound = Some(at(0));
        assert!(!latest.is_resync(), "its second page neither");
        latest.has_restarted = true;
        assert!(latest.is_resync(), "the cursor has expired");
        assert!(read(None, None).is_resync(), "the cursor was reset");
        assert!(read(Some(1), Some(0)).is_resync(), "a part was left");
    }

    proptest! {
        #[test]
        fn no_stream_is_lost(steps in prop::collection::vec((0_u8..4, 0_i64..20), 1..60)) {
            let mut queue = StreamQueue::default();
            let mut pushed = 0_usize;
            let mut now = 0;
            for (step, number) in steps {
                now += number % 3;
                match step {
                    0 => { queue.push_fresh(task(&format!("k{}:{pushed}", number % 2))); pushed += 1; }
                    1 => { queue.push_started(task(&format!("k:{pushed}"))); pushed += 1; }
                    _ => if let Some((group, task)) = queue.pop(at(now)) {
                        let scope = if number % 2 == 0 { LimitScope::Operation } else { LimitScope::Account };
                        queue.push_limited(group, task, scope, "any", at(now + number));
                    }
                }
            }
            let mut popped = 0;
            while let Some(resumes_at) = queue.resumes_at(at(now)) {
                prop_assert!(queue.pop(resumes_at).is_some(), "a stream can be read at `resumes_at`");
                popped += 1;
            }
            prop_assert_eq!(popped, pushed);
        }
    }
}
