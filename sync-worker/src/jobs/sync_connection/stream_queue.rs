//! The order in which a run reads its streams, and which of them wait for a limit.
//!
//! Streams wait in lanes. A lane holds streams whose next call is limited together: those of one
//! kind that have not been read yet in this run, or those whose next call is known to be one
//! operation. When a call is refused, its lane rests, and the others are read meanwhile.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, Utc};
use shared::connectors::{LimitScope, SyncPage};
use shared::db::cursors::StreamCursor;

/// A stream under way.
#[derive(Debug)]
pub(super) struct StreamTask {
    pub(super) stream: StreamCursor,
    /// What it is read for.
    pub(super) pass: Pass,
    /// Whether the cursor belongs to an earlier run that did not end: it is first read to that
    /// run's bound.
    pub(super) is_left_behind: bool,
    /// Whether its cursor has expired in this run already.
    pub(super) has_restarted: bool,
    /// Its next page, where that has been fetched.
    pub(super) fetched: Option<SyncPage>,
}

impl StreamTask {
    /// A stream whose next page is the first that this run reads of it.
    pub(super) const fn new(stream: StreamCursor, pass: Pass) -> Self {
        Self {
            stream,
            pass,
            is_left_behind: false,
            has_restarted: false,
            fetched: None,
        }
    }
}

/// What a stream is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// It lists the other streams.
    Root,
    /// What is new on it.
    Incremental,
    /// What an earlier read did not find. The cursor is the pass's own.
    Reconciliation,
}

/// What a lane's streams have in common. Lanes are tried in this order; of those that are fresh, the
/// one whose first stream was read least recently.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    /// Not read yet in this run; by kind, which is the part of the key before the colon.
    Fresh(String),
    /// Their next call has been refused: it is this operation.
    Limited(&'static str),
    /// Read, with more to read.
    Started,
}

#[derive(Debug, Default)]
struct Waiting {
    tasks: VecDeque<StreamTask>,
    /// When the lane's calls are allowed again.
    resumes_at: Option<DateTime<Utc>>,
}

/// The streams that a run has still to read.
#[derive(Debug, Default)]
pub(super) struct StreamQueue {
    lanes: BTreeMap<Lane, Waiting>,
    /// When calls for the account are allowed again.
    resumes_at: Option<DateTime<Utc>>,
}

impl StreamQueue {
    /// Adds a stream that has not been read yet in this run.
    pub(super) fn push_fresh(&mut self, task: StreamTask) {
        let key = &task.stream.spec.key;
        let kind = key.split_once(':').map_or(key.as_str(), |(kind, _)| kind);
        let lane = Lane::Fresh(kind.to_owned());
        self.lanes.entry(lane).or_default().tasks.push_back(task);
    }

    /// Adds a stream that has more to read.
    pub(super) fn push_started(&mut self, task: StreamTask) {
        let lane = self.lanes.entry(Lane::Started).or_default();
        lane.tasks.push_back(task);
    }

    /// Puts back a stream whose call was refused.
    pub(super) fn push_limited(
        &mut self,
        from: Lane,
        task: StreamTask,
        scope: LimitScope,
        operation: &'static str,
        resumes_at: DateTime<Utc>,
    ) {
        if scope != LimitScope::Operation {
            self.resumes_at = self.resumes_at.max(Some(resumes_at));
            self.lanes.entry(from).or_default().tasks.push_front(task);
            return;
        }
        let lane = match from {
            Lane::Started => Lane::Limited(operation),
            known => known,
        };
        let waiting = self.lanes.entry(lane).or_default();
        waiting.tasks.push_front(task);
        waiting.resumes_at = waiting.resumes_at.max(Some(resumes_at));
    }

    /// The next stream whose call is allowed as far as is known, and the lane it comes from.
    pub(super) fn pop(&mut self, now: DateTime<Utc>) -> Option<(Lane, StreamTask)> {
        if self.resumes_at.is_some_and(|at| at > now) {
            return None;
        }
        let allowed = self.lanes.iter_mut().filter(|(_, waiting)| {
            !waiting.tasks.is_empty() && waiting.resumes_at.is_none_or(|at| at <= now)
        });
        // The first of those that are equal.
        let (lane, waiting) = allowed.min_by_key(|(lane, waiting)| {
            let first = waiting.tasks.front();
            match lane {
                Lane::Fresh(_) => (0, first.and_then(|task| task.stream.read_through)),
                Lane::Limited(_) => (1, None),
                Lane::Started => (2, None),
            }
        })?;
        Some((lane.clone(), waiting.tasks.pop_front()?))
    }

    /// When the first stream can be read that waits; `None` when none waits.
    pub(super) fn resumes_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.lanes
            .values()
            .filter(|waiting| !waiting.tasks.is_empty())
            .map(|waiting| waiting.resumes_at.max(self.resumes_at).unwrap_or(now))
            .min()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shared::connectors::StreamSpec;
    use shared::db::cursors::PageSize;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).expect("a moment")
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
            pending_upper_bound: None,
            read_through: None,
            reconciled_through: None,
            is_reconciliation_denied: false,
            page_size: PageSize::default(),
        };
        StreamTask::new(stream, Pass::Incremental)
    }

    fn key((_, task): (Lane, StreamTask)) -> String {
        task.stream.spec.key
    }

    #[test]
    fn first_pages_of_all_streams_come_before_second_ones() {
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
    fn limited_operation_holds_up_no_other() {
        let mut queue = StreamQueue::default();
        queue.push_fresh(task("messages:1"));
        queue.push_fresh(task("messages:2"));
        let (lane, first) = queue.pop(at(0)).expect("a stream");
        queue.push_limited(lane, first, LimitScope::Operation, "history", at(5));
        assert_eq!(queue.pop(at(4)).map(key), None, "the kind rests");
        queue.push_started(task("messages:3"));
        let (lane, started) = queue.pop(at(4)).expect("another operation");
        assert_eq!(started.stream.spec.key, "messages:3");
        queue.push_limited(lane, started, LimitScope::Operation, "replies", at(9));
        assert_eq!(queue.resumes_at(at(4)), Some(at(5)));
        assert_eq!(queue.pop(at(5)).map(key), Some("messages:1".to_owned()));
        assert_eq!(queue.pop(at(5)).map(key), Some("messages:2".to_owned()));
        assert_eq!(queue.pop(at(8)).map(key), None);
        assert_eq!(queue.pop(at(9)).map(key), Some("messages:3".to_owned()));
    }

    #[test]
    fn limited_account_holds_up_every_stream() {
        let mut queue = StreamQueue::default();
        queue.push_fresh(task("issues:1"));
        queue.push_started(task("pulls:1"));
        let (lane, first) = queue.pop(at(0)).expect("a stream");
        queue.push_limited(lane, first, LimitScope::Account, "list", at(60));
        assert_eq!(queue.pop(at(59)).map(key), None);
        assert_eq!(queue.resumes_at(at(59)), Some(at(60)));
        assert_eq!(queue.pop(at(60)).map(key), Some("issues:1".to_owned()));
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
                    _ => if let Some((lane, task)) = queue.pop(at(now)) {
                        let scope = if number % 2 == 0 { LimitScope::Operation } else { LimitScope::Account };
                        queue.push_limited(lane, task, scope, "any", at(now + number));
                    }
                }
            }
            let mut popped = 0;
            while let Some(resumes_at) = queue.resumes_at(at(now)) {
                prop_assert!(queue.pop(resumes_at).is_some(), "it can be read when it is said to be");
                popped += 1;
            }
            prop_assert_eq!(popped, pushed);
        }
    }
}
