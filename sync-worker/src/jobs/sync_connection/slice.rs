//! The work, the progress and the result of a time slice.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use shared::connectors::ConnectorError;
use shared::db::cursors::StreamCursor;

use super::stream_queue::{Pass, StreamQueue, StreamTask};

/// Maximum number of streams per slice.
pub(super) const MAX_STREAMS: i64 = 2_000;

/// The result of a slice.
#[derive(Debug)]
pub(super) struct SliceReport {
    pub(super) end: SliceEnd,
    /// The number of pages and streams that it finished.
    pub(super) progress: usize,
    /// The failure of a stream, if any; a retry may succeed.
    pub(super) failure: Option<ConnectorError>,
    /// The number of pages that the reconciliation pass read.
    pub(super) reconciled: usize,
}

/// The reason why a slice ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SliceEnd {
    /// Every stream was attempted.
    Complete,
    /// Every stream was attempted; the reconciliation pass can continue at this time.
    Reconciling(DateTime<Utc>),
    /// The time slice is over, with more to read.
    TimeIsUp,
    /// No call is allowed before this time.
    Limited(DateTime<Utc>),
}

/// The work and the progress of a slice.
#[derive(Default)]
pub(super) struct Slice {
    pub(super) queue: StreamQueue,
    /// Keys of the streams that have been queued.
    queued: HashSet<String>,
    /// Keys of unchanged streams that are not yet marked as read.
    pub(super) unchanged: Vec<String>,
    pub(super) progress: usize,
    pub(super) failure: Option<ConnectorError>,
    /// Consecutive streams whose calls the provider rejects with a new token.
    pub(super) rejections: u32,
    /// Whether there are more streams than one slice reads.
    pub(super) is_partial: bool,
    /// Whether every stream has been read and the reconciliation pass has begun.
    pub(super) is_reconciling: bool,
    /// The number of pages that the pass read.
    pub(super) reconciled: usize,
}

impl Slice {
    /// Queues streams that have not been queued before.
    pub(super) fn queue_streams(&mut self, streams: Vec<StreamCursor>, upper_bound: DateTime<Utc>) {
        self.is_partial = i64::try_from(streams.len()).unwrap_or(i64::MAX) >= MAX_STREAMS;
        for stream in streams {
            if !self.queued.insert(stream.spec.key.clone()) {
                continue;
            }
            let is_left_behind = stream
                .pending_upper_bound
                .is_some_and(|bound| bound != upper_bound);
            self.queue.push_fresh(StreamTask {
                is_left_behind,
                ..StreamTask::new(stream, Pass::Incremental)
            });
        }
    }

    /// Queues streams to be reconciled.
    pub(super) fn queue_unreconciled(&mut self, streams: Vec<StreamCursor>) {
        for stream in streams {
            self.queue
                .push_fresh(StreamTask::new(stream, Pass::Reconciliation));
        }
    }

    /// Keeps the failure that decides the job's outcome; a temporary failure has precedence.
    pub(super) fn record_failure(&mut self, error: ConnectorError) {
        let is_temporary = is_temporary(&error);
        if !is_temporary {
            self.progress += 1;
        }
        // A denial is recorded on the stream and does not affect the job's outcome.
        if matches!(error, ConnectorError::Denied { .. }) {
            return;
        }
        if self.failure.is_none() || is_temporary {
            self.failure = Some(error);
        }
    }
}

/// Whether the job's next attempt may read a stream that failed with this error.
pub(super) const fn is_temporary(error: &ConnectorError) -> bool {
    matches!(
        error,
        ConnectorError::Transient(_)
            | ConnectorError::CursorExpired(_)
            | ConnectorError::Unauthorized(_)
    )
}
