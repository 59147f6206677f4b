//! The feed: every Signal of a tenant exactly once, in an order that never changes.
//!
//! Sequence numbers and timestamps are given out before a transaction commits, so a reader
//! that follows them passes rows that are still to appear. The feed follows the id of the
//! writing transaction instead, and shows only what lies below the oldest transaction that
//! still runs: nothing can appear there any more. A transaction left open somewhere holds
//! the feed back, it never makes it lose anything.
//!
//! The same holds on a streaming replica, where it is the replica's own border that counts. A
//! replica learns of transactions in the order of the primary's log, and takes every id below
//! the highest that it has met for running until it has replayed its end. So what lies below
//! its border has ended on the primary and is visible here, and the border is never ahead of
//! the primary's. A reader that changes between servers carries one position in one order: at
//! a server that is behind it, it finds nothing and stays where it is.

mod completeness;
mod cursor;
mod replica;
mod rows;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, Row};

pub use self::completeness::{Behind, Completeness};
pub use self::cursor::Cursor;
use self::cursor::Position;
use self::replica::Replica;
use self::rows::{Order, columns, looked_until, number, position, select, signal};
use super::{Signal, SignalKind};
use crate::crypto::Keyring;
use crate::db::{Db, DbError, Role, TenantScope, Tx};
use crate::ids::{ConnectionId, SignalId};

/// Which Signals a reader wants. Empty lists mean all.
#[derive(Debug, Clone, Default)]
pub struct FeedQuery {
    /// Providers' slugs.
    pub sources: Vec<String>,
    /// Kinds.
    pub kinds: Vec<SignalKind>,
    /// Connections.
    pub connection_ids: Vec<ConnectionId>,
    /// Happened at this moment or later.
    pub since: Option<DateTime<Utc>>,
    /// Happened before this moment.
    pub until: Option<DateTime<Utc>>,
    /// Most Signals of the page.
    pub limit: u32,
    /// Whether the providers' objects are wanted.
    pub include_raw: bool,
}

/// A page of Signals.
#[derive(Debug)]
pub struct FeedPage {
    /// The Signals, in the order asked for.
    pub signals: Vec<Signal>,
    /// Where to go on. In feed order always present: a reader at the end comes back with it.
    pub next_cursor: Option<String>,
    /// Whether more can be read at once. A page whose filters pass over much has fewer Signals
    /// than it may, even none, and still more behind it.
    pub has_more: bool,
    /// How far the feed is complete, for each connection that the query is about.
    pub completeness: Vec<Completeness>,
    generation: i32,
    /// Behind each Signal.
    positions: Vec<Position>,
}

/// Why a page cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The cursor is not one of ours, or belongs to another tenant or another order.
    #[error("the cursor is not one of ours")]
    MalformedCursor,
    /// The cursor was ours, and can no longer be followed without missing Signals.
    #[error("the cursor belongs to an earlier generation of the feed")]
    CursorExpired,
    /// The replica has not yet heard of something that its reader knows of, or of anything
    /// for long; the primary answers then.
    #[error("the replica is behind")]
    Behind,
    /// Postgres did not answer.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Reads Signals: from a replica while there is one that can be trusted, else from the primary.
#[derive(Debug, Clone)]
pub struct Feed {
    primary: Db,
    replica: Option<Arc<Replica>>,
    keyring: Arc<Keyring>,
}

impl Feed {
    /// A feed over these pools; cursors are authenticated with a key of the ring.
    pub fn new(primary: Db, replica: Option<Db>, role: Role, keyring: Arc<Keyring>) -> Self {
        Self {
            primary,
            replica: replica.map(|db| Arc::new(Replica::new(db, role))),
            keyring,
        }
    }

    /// The page behind `cursor` in feed order; from the beginning without one.
    pub async fn page(
        &self,
        scope: &TenantScope,
        cursor: Option<&str>,
        query: &FeedQuery,
    ) -> Result<FeedPage, FeedError> {
        self.read(|db| self.page_of(db, scope, cursor, query)).await
    }

    async fn page_of(
        &self,
        db: Db,
        scope: &TenantScope,
        cursor: Option<&str>,
        query: &FeedQuery,
    ) -> Result<FeedPage, FeedError> {
        let mut tx = db.begin(scope).await?;
        let (state, completeness) = state_and_completeness(&mut tx, scope, query).await?;
        let (generation, watermark) = (state.generation, state.watermark);
        let (tx_id, seq) = match self.open(scope, cursor, &state)? {
            None => (0, 0),
            Some(Position::Feed { tx_id, seq }) => (tx_id, seq),
            Some(Position::Recent { .. }) => return Err(FeedError::MalformedCursor),
        };
        let order = Order::Feed {
            tx_id,
            seq,
            watermark,
        };
        let mut page = self.read_page(tx, scope, generation, &order, query).await?;
        page.completeness = completeness;
        if !page.has_more {
            // Everything below the watermark was looked at, also what a filter passed over:
            // the next read need not look again. A replica may be behind its reader.
            let position = (tx_id, seq).max(end_below(watermark));
            page.next_cursor = Some(self.seal(scope, generation, &feed_position(position)));
        }
        Ok(page)
    }

    /// A page of the newest Signals by the providers' time; for people. Signals that arrive
    /// late appear where they belong, so this order is no way to follow everything.
    pub async fn recent(
        &self,
        scope: &TenantScope,
        cursor: Option<&str>,
        query: &FeedQuery,
    ) -> Result<FeedPage, FeedError> {
        self.read(|db| self.recent_of(db, scope, cursor, query))
            .await
    }

    async fn recent_of(
        &self,
        db: Db,
        scope: &TenantScope,
        cursor: Option<&str>,
        query: &FeedQuery,
    ) -> Result<FeedPage, FeedError> {
        let mut tx = db.begin(scope).await?;
        let (state, completeness) = state_and_completeness(&mut tx, scope, query).await?;
        let generation = state.generation;
        let before = match self.open(scope, cursor, &state)? {
            None => None,
            Some(Position::Recent { occurred_at, id }) => Some((occurred_at, id)),
            Some(Position::Feed { .. }) => return Err(FeedError::MalformedCursor),
        };
        let order = Order::Recent { before };
        let mut page = self.read_page(tx, scope, generation, &order, query).await?;
        page.completeness = completeness;
        if !page.has_more {
            page.next_cursor = None;
        }
        Ok(page)
    }

    /// One Signal.
    pub async fn get(
        &self,
        scope: &TenantScope,
        id: SignalId,
        include_raw: bool,
    ) -> Result<Option<Signal>, FeedError> {
        let found = self.read(|db| get(db, scope, id, include_raw)).await?;
        if found.is_some() || self.replica.is_none() {
            return Ok(found);
        }
        // Whoever asks for it may know it from the primary.
        get(self.primary.clone(), scope, id, include_raw).await
    }

    /// The cursor at the end of the feed as it is now: a reader that wants only news.
    pub async fn end(&self, scope: &TenantScope) -> Result<String, FeedError> {
        let state = self
            .read(async |db| {
                let mut tx = db.begin(scope).await?;
                let state = state(&mut tx).await?;
                tx.commit().await.map_err(DbError::from)?;
                Ok(state)
            })
            .await?;
        let position = feed_position(end_below(state.watermark));
        Ok(self.seal(scope, state.generation, &position))
    }

    /// The border below which everything is settled, where Signals are read at the moment. The
    /// feed may have grown when it has moved.
    pub async fn border(&self) -> Result<u64, FeedError> {
        self.read(border).await
    }

    /// For each Signal of a page, the cursor that goes on behind it.
    pub fn cursors(&self, scope: &TenantScope, page: &FeedPage) -> Vec<String> {
        let positions = page.positions.iter();
        positions
            .map(|position| self.seal(scope, page.generation, position))
            .collect()
    }

    /// Reads from the replica, and from the primary when that is of no use: a replica that is
    /// away or behind is no reason to be either.
    async fn read<T, F>(&self, read: impl Fn(Db) -> F) -> Result<T, FeedError>
    where
        F: Future<Output = Result<T, FeedError>>,
    {
        if let Some(replica) = &self.replica
            && let Some(db) = replica.trusted().await
        {
            match read(db).await {
                Err(error @ FeedError::Behind) => replica.distrust(&error),
                Err(FeedError::Db(error)) if error.is_unavailable() => replica.distrust(&error),
                result => {
                    replica.trust();
                    return result;
                }
            }
        }
        match read(self.primary.clone()).await {
            Err(FeedError::Db(error)) if error.is_lost() => read(self.primary.clone()).await,
            result => result,
        }
    }

    fn open(
        &self,
        scope: &TenantScope,
        cursor: Option<&str>,
        state: &State,
    ) -> Result<Option<Position>, FeedError> {
        let Some(text) = cursor else { return Ok(None) };
        let cursor = Cursor::open(&self.keyring, scope.tenant_id(), text)
            .ok_or(FeedError::MalformedCursor)?;
        if cursor.generation > state.generation && state.of_a_replica {
            return Err(FeedError::Behind);
        }
        if cursor.generation != state.generation {
            return Err(FeedError::CursorExpired);
        }
        Ok(Some(cursor.position))
    }

    fn seal(&self, scope: &TenantScope, generation: i32, position: &Position) -> String {
        Cursor {
            generation,
            position: *position,
        }
        .seal(&self.keyring, scope.tenant_id())
    }

    async fn read_page(
        &self,
        mut tx: Tx,
        scope: &TenantScope,
        generation: i32,
        order: &Order,
        query: &FeedQuery,
    ) -> Result<FeedPage, FeedError> {
        let mut rows = select(&mut tx, scope, order, query).await?;
        let full = rows.len() > query.limit as usize;
        // A page that is not full goes on where it stopped looking.
        let end = if full {
            None
        } else {
            looked_until(&mut tx, scope, order, query).await?
        };
        tx.commit().await.map_err(DbError::from)?;
        rows.truncate(query.limit as usize);
        let mut signals = Vec::with_capacity(rows.len());
        let mut positions = Vec::with_capacity(rows.len());
        for row in &rows {
            signals.push(signal(row, query.include_raw)?);
            positions.push(position(row, order)?);
        }
        Ok(FeedPage {
            next_cursor: end
                .as_ref()
                .or(positions.last())
                .map(|position| self.seal(scope, generation, position)),
            signals,
            has_more: full || end.is_some(),
            completeness: Vec::new(),
            generation,
            positions,
        })
    }
}

/// What a page is read against.
struct State {
    /// The feed's generation; another one began when the database was restored elsewhere.
    generation: i32,
    /// The oldest transaction that still runs: what is below it is settled.
    watermark: u64,
    of_a_replica: bool,
}

/// How long a replica may have heard nothing from its primary, where every worker writes
/// something every few seconds.
const MOST_SILENCE_SECONDS: f64 = 30.0;

/// What a page is read against, as columns of [`NEWEST`].
const STATE: &str = "g.generation, g.system_identifier = c.system_identifier::text AS same, \
    pg_snapshot_xmin(pg_current_snapshot())::text AS watermark, \
    CASE WHEN pg_is_in_recovery() THEN coalesce(extract(epoch FROM \
        clock_timestamp() - pg_last_xact_replay_timestamp()), 'infinity')::float8 \
    END AS silence";

const NEWEST: &str =
    "FROM feed_generations g, pg_control_system() c ORDER BY g.generation DESC LIMIT 1";

impl State {
    fn read(row: &PgRow) -> Result<Self, FeedError> {
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
}

async fn state(tx: &mut Tx) -> Result<State, FeedError> {
    let statement = format!("SELECT {STATE} {NEWEST}");
    let row = sqlx::query(AssertSqlSafe(statement))
        .fetch_one(&mut **tx)
        .await
        .map_err(DbError::from)?;
    State::read(&row)
}

/// Both out of one snapshot: what is said to be complete lies below the same watermark.
async fn state_and_completeness(
    tx: &mut Tx,
    scope: &TenantScope,
    query: &FeedQuery,
) -> Result<(State, Vec<Completeness>), FeedError> {
    let statement = format!("SELECT {STATE}, {} {NEWEST}", completeness::COLUMN);
    let row = sqlx::query(AssertSqlSafe(statement))
        .bind(scope.tenant_id())
        .bind(&query.sources)
        .bind(&query.connection_ids)
        .fetch_one(&mut **tx)
        .await
        .map_err(DbError::from)?;
    let connections: Option<Json<Vec<completeness::Row>>> =
        row.try_get("connections").map_err(DbError::from)?;
    let completeness = connections
        .map_or_else(Vec::new, |rows| rows.0)
        .into_iter()
        .map(Completeness::from)
        .collect();
    Ok((State::read(&row)?, completeness))
}

async fn get(
    db: Db,
    scope: &TenantScope,
    id: SignalId,
    include_raw: bool,
) -> Result<Option<Signal>, FeedError> {
    let mut tx = db.begin(scope).await?;
    state(&mut tx).await?;
    let row = sqlx::query(AssertSqlSafe(format!(
        "SELECT {} FROM signals WHERE tenant_id = $1 AND id = $2",
        columns(include_raw)
    )))
    .bind(scope.tenant_id())
    .bind(id)
    .fetch_optional(&mut *tx)
    .await
    .map_err(DbError::from)?;
    tx.commit().await.map_err(DbError::from)?;
    Ok(row.map(|row| signal(&row, include_raw)).transpose()?)
}

async fn border(db: Db) -> Result<u64, FeedError> {
    let mut tx = db.begin_unscoped().await?;
    let state = state(&mut tx).await?;
    tx.commit().await.map_err(DbError::from)?;
    Ok(state.watermark)
}

/// Behind everything that is settled.
fn end_below(watermark: u64) -> (u64, i64) {
    (watermark.saturating_sub(1), i64::MAX)
}

const fn feed_position((tx_id, seq): (u64, i64)) -> Position {
    Position::Feed { tx_id, seq }
}
