//! What Signals are read against: the feed's generation, and the border of what is settled.

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use sqlx::AssertSqlSafe;

use super::{Cursor, FeedError};
use crate::db::{DbError, Json, Tx};

/// What a page is read against, as Postgres tells it.
#[derive(Debug, Deserialize)]
pub(super) struct State {
    /// The feed's generation; another one began when the database was restored elsewhere.
    pub(super) generation: i32,
    /// The oldest transaction that still runs: what is below it is settled.
    #[serde(deserialize_with = "in_text")]
    pub(super) watermark: u64,
    /// Whether the generation began in this cluster.
    same: bool,
    /// How long a replica has heard nothing from its primary; nothing of a primary.
    silence: Option<f64>,
}

/// How long a replica may have heard nothing from its primary, where every worker writes
/// something every few seconds.
const MOST_SILENCE_SECONDS: f64 = 30.0;

/// What a page is read against, as columns of [`NEWEST`]. A replica that has heard nothing at all
/// has heard nothing for decades.
pub(super) const STATE: &str = "g.generation, g.system_identifier = c.system_identifier::text AS same, \
    pg_snapshot_xmin(pg_current_snapshot())::text AS watermark, \
    CASE WHEN pg_is_in_recovery() THEN coalesce(extract(epoch FROM \
        clock_timestamp() - pg_last_xact_replay_timestamp()), 1e9)::float8 \
    END AS silence";

pub(super) const NEWEST: &str =
    "FROM feed_generations g, pg_control_system() c ORDER BY g.generation DESC LIMIT 1";

impl State {
    /// Whether what is read against it can be trusted.
    pub(super) fn checked(self) -> Result<Self, FeedError> {
        if !self.same {
            return Err(DbError::Corrupt(
                "the database was restored into another cluster; run `migrations up`",
            )
            .into());
        }
        if self
            .silence
            .is_some_and(|seconds| seconds > MOST_SILENCE_SECONDS)
        {
            return Err(FeedError::Behind);
        }
        Ok(self)
    }

    /// Whether a cursor can be followed here.
    pub(super) const fn admit(&self, cursor: Cursor) -> Result<(), FeedError> {
        if cursor.generation > self.generation && self.silence.is_some() {
            return Err(FeedError::Behind);
        }
        if cursor.generation != self.generation {
            return Err(FeedError::CursorExpired);
        }
        Ok(())
    }
}

pub(super) async fn state(tx: &mut Tx) -> Result<State, FeedError> {
    let statement = format!("SELECT row_to_json(s) FROM (SELECT {STATE} {NEWEST}) s");
    let state: Json<State> = sqlx::query_scalar(AssertSqlSafe(statement))
        .fetch_one(&mut **tx)
        .await
        .map_err(DbError::from)?;
    state.0.checked()
}

/// A transaction's id, which is a number of more bits than Postgres gives out as one.
pub(super) fn number(text: &str) -> Result<u64, DbError> {
    text.parse()
        .map_err(|_| DbError::Corrupt("a transaction id is not a number"))
}

fn in_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    number(&text).map_err(D::Error::custom)
}
