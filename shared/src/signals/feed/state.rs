//! What Signals are read against: the feed's generation, and the border of what is settled.

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row};

use super::rows::number;
use super::{Cursor, FeedError};
use crate::db::{DbError, Tx};

/// What a page is read against.
pub(super) struct State {
    /// The feed's generation; another one began when the database was restored elsewhere.
    pub(super) generation: i32,
    /// The oldest transaction that still runs: what is below it is settled.
    pub(super) watermark: u64,
    of_a_replica: bool,
}

/// How long a replica may have heard nothing from its primary, where every worker writes
/// something every few seconds.
const MOST_SILENCE_SECONDS: f64 = 30.0;

/// What a page is read against, as columns of [`NEWEST`].
pub(super) const STATE: &str = "g.generation, g.system_identifier = c.system_identifier::text AS same, \
    pg_snapshot_xmin(pg_current_snapshot())::text AS watermark, \
    CASE WHEN pg_is_in_recovery() THEN coalesce(extract(epoch FROM \
        clock_timestamp() - pg_last_xact_replay_timestamp()), 'infinity')::float8 \
    END AS silence";

pub(super) const NEWEST: &str =
    "FROM feed_generations g, pg_control_system() c ORDER BY g.generation DESC LIMIT 1";

impl State {
    pub(super) fn read(row: &PgRow) -> Result<Self, FeedError> {
        if !row.try_get::<bool, _>("same").map_err(DbError::from)? {
            return Err(DbError::Corrupt(
                "the database was restored into another cluster; run `migrations up`",
            )
            .into());
        }
        let silence: Option<f64> = row.try_get("silence").map_err(DbError::from)?;
        if silence.is_some_and(|seconds| seconds > MOST_SILENCE_SECONDS) {
            return Err(FeedError::Behind);
        }
        Ok(Self {
            generation: row.try_get("generation").map_err(DbError::from)?,
            watermark: number(row, "watermark")?,
            of_a_replica: silence.is_some(),
        })
    }

    /// Whether a cursor can be followed here.
    pub(super) const fn admit(&self, cursor: Cursor) -> Result<(), FeedError> {
        if cursor.generation > self.generation && self.of_a_replica {
            return Err(FeedError::Behind);
        }
        if cursor.generation != self.generation {
            return Err(FeedError::CursorExpired);
        }
        Ok(())
    }
}

pub(super) async fn state(tx: &mut Tx) -> Result<State, FeedError> {
    let statement = format!("SELECT {STATE} {NEWEST}");
    let row = sqlx::query(AssertSqlSafe(statement))
        .fetch_one(&mut **tx)
        .await
        .map_err(DbError::from)?;
    State::read(&row)
}
