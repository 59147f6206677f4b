//! Stream cursors: loading, saving, and arithmetic with their times.

use chrono::{DateTime, Duration, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{ConnectorError, SyncRequest};

/// Loads the request's cursor; `None` for a stream that was never read.
///
/// A cursor of an incompatible version counts as expired, so that the stream starts over.
pub(super) fn load_cursor<C: DeserializeOwned>(
    request: &SyncRequest,
) -> Result<Option<C>, ConnectorError> {
    match &request.cursor {
        None | Some(serde_json::Value::Null) => Ok(None),
        Some(cursor) => serde_json::from_value(cursor.clone())
            .map(Some)
            .map_err(|error| ConnectorError::CursorExpired(error.into())),
    }
}

/// Serializes a cursor.
pub(super) fn save_cursor<C: Serialize>(cursor: &C) -> Result<serde_json::Value, ConnectorError> {
    serde_json::to_value(cursor).map_err(|error| ConnectorError::Permanent(error.into()))
}

/// Subtracts a duration, saturating: a cursor may hold any time, including the first one.
pub(super) fn earlier(at: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    at.checked_sub_signed(by)
        .unwrap_or(DateTime::<Utc>::MIN_UTC)
}

/// The part of the time from `from` to `to` that lies before `at`, from 0 to 1.
pub(super) fn part_before(at: DateTime<Utc>, from: DateTime<Utc>, to: DateTime<Utc>) -> f32 {
    let seconds = |span: Duration| span.num_seconds().max(0);
    let (done, all) = (seconds(at - from), seconds(to - from));
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    if all == 0 {
        1.0
    } else {
        (done as f32 / all as f32).clamp(0.0, 1.0)
    }
}
