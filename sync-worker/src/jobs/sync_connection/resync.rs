//! The read that replaces an expired cursor.

use chrono::{DateTime, Utc};
use shared::db::DbError;
use shared::db::cursors::{self, StreamCursor};

use super::page_end::MAX_LATENESS;
use super::run::Run;
use crate::failure::JobFailure;

impl Run<'_> {
    /// Resets a stream whose cursor has expired; its floor stays.
    pub(super) async fn restart(&self, stream: &mut StreamCursor) -> Result<(), JobFailure> {
        let resync_from = if self.is_backfill {
            None
        } else {
            resync_from(stream, self.backfill_from)
        };
        let (scope, connection) = (&self.session.scope, self.session.connection);
        let key = &stream.spec.key;
        let mut tx = self.begin().await?;
        cursors::restart(&mut tx, scope, connection, key, resync_from).await?;
        tx.commit().await.map_err(DbError::from)?;
        tracing::info!(
            stream.key = key,
            resync_from = resync_from.map(|from| from.to_rfc3339()),
            "cursor expired, reading the stream again"
        );
        stream.cursor = None;
        stream.pending_upper_bound = None;
        stream.version += 1;
        stream.resync_from = resync_from;
        Ok(())
    }
}

/// Lower bound of the read that replaces the expired cursor of a stream.
///
/// It is where a backfill would begin now, so that a connection of many years is not read again as
/// a whole, or earlier if the stream has not been read for that long: facts from before the end of
/// its last complete read are in the feed. A stream that was never read completely is read from its
/// floor.
fn resync_from(stream: &StreamCursor, backfill_from: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let known_from = stream.read_through? - MAX_LATENESS;
    Some(known_from.min(backfill_from).max(stream.backfill_from))
}

#[cfg(test)]
mod tests {
    use shared::db::cursors::PageSize;
    use shared::model::StreamSpec;

    use super::*;

    fn at(day: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + day * 86_400, 0).expect("a time")
    }

    fn stream(floor: i64, read_through: Option<i64>) -> StreamCursor {
        StreamCursor {
            spec: StreamSpec {
                key: "messages".to_owned(),
                resource_id: None,
                target: serde_json::Value::Null,
            },
            cursor: None,
            version: 0,
            backfill_from: at(floor),
            resync_from: None,
            pending_upper_bound: None,
            read_through: read_through.map(at),
            reconciled_through: None,
            is_reconciliation_denied: false,
            requested_at: None,
            page_size: PageSize::default(),
        }
    }

    #[test]
    fn resync_covers_every_unread_time_since_floor() {
        let from = |floor, read_through| resync_from(&stream(floor, read_through), at(-90));
        assert_eq!(from(-700, Some(-1)), Some(at(-90)), "an old connection");
        let unread = at(-200) - MAX_LATENESS;
        assert_eq!(from(-700, Some(-200)), Some(unread), "unread for long");
        assert_eq!(from(-30, Some(-1)), Some(at(-30)), "not below the floor");
        assert_eq!(from(-700, None), None, "never read: from the floor");
    }
}
