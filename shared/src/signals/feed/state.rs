//! The state of the feed that a read is checked against: its generation and its watermark.

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use sqlx::AssertSqlSafe;

use super::{Cursor, FeedError};
use crate::db::{DbError, Json, Tx};

/// The feed's state in the snapshot of a statement.
#[derive(Debug, Deserialize)]
pub(super) struct State {
    /// The feed's generation; a restore of the database elsewhere begins another one.
    pub(super) generation: i32,
    /// The oldest transaction id that still runs; the feed ends below it.
    #[serde(deserialize_with = "deserialize_tx_id")]
    pub(super) watermark: u64,
    /// Whether the generation began in this cluster.
    is_same_cluster: bool,
    /// Seconds since a replica replayed a transaction of its primary; `None` on a primary.
    replay_lag_seconds: Option<f64>,
}

/// The replay lag beyond which a replica is not read; workers write every few seconds.
const MAX_REPLAY_LAG_SECONDS: f64 = 30.0;

/// The columns of [`State`], over [`FROM_CURRENT_GENERATION`].
///
/// A replica that has replayed nothing counts as decades behind.
pub(super) const STATE_COLUMNS: &str = "g.generation, \
    g.system_identifier = c.system_identifier::text AS is_same_cluster, \
    pg_snapshot_xmin(pg_current_snapshot())::text AS watermark, \
    CASE WHEN pg_is_in_recovery() THEN coalesce(extract(epoch FROM \
        clock_timestamp() - pg_last_xact_replay_timestamp()), 1e9)::float8 \
    END AS replay_lag_seconds";

/// The feed's current generation, with the cluster that it is compared to.
pub(super) const FROM_CURRENT_GENERATION: &str =
    "FROM feed_generations g, pg_control_system() c ORDER BY g.generation DESC LIMIT 1";

impl State {
    /// Fails in a restored cluster without a generation, and on a replica that lags.
    pub(super) fn verify(self) -> Result<Self, FeedError> {
        if !self.is_same_cluster {
            return Err(DbError::Corrupt(
                "the database was restored into another cluster; run `migrations up`",
            )
            .into());
        }
        if self
            .replay_lag_seconds
            .is_some_and(|seconds| seconds > MAX_REPLAY_LAG_SECONDS)
        {
            return Err(FeedError::ReplicaLagging);
        }
        Ok(self)
    }

    /// Fails unless the cursor belongs to this generation.
    pub(super) const fn check_cursor(&self, cursor: Cursor) -> Result<(), FeedError> {
        if cursor.generation > self.generation && self.replay_lag_seconds.is_some() {
            return Err(FeedError::ReplicaLagging);
        }
        if cursor.generation != self.generation {
            return Err(FeedError::CursorExpired);
        }
        Ok(())
    }
}

/// Reads and verifies the state.
pub(super) async fn load_state(tx: &mut Tx) -> Result<State, FeedError> {
    let statement =
        format!("SELECT row_to_json(s) FROM (SELECT {STATE_COLUMNS} {FROM_CURRENT_GENERATION}) s");
    let state: Json<State> = sqlx::query_scalar(AssertSqlSafe(statement))
        .fetch_one(&mut **tx)
        .await
        .map_err(DbError::from)?;
    state.0.verify()
}

/// Parses a transaction id, which Postgres returns as text because it has 64 bits.
pub(super) fn parse_tx_id(text: &str) -> Result<u64, DbError> {
    text.parse()
        .map_err(|_| DbError::Corrupt("a transaction id is not a number"))
}

fn deserialize_tx_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_tx_id(&text).map_err(D::Error::custom)
}
