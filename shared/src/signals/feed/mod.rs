//! The feed: every Signal of a tenant exactly once, in an order that never changes.
//!
//! Sequence numbers and timestamps are assigned before a transaction commits, so a reader that
//! follows them skips rows that become visible later. The feed is ordered by the id of the
//! writing transaction instead, and ends below its watermark, the oldest transaction id that
//! still runs: no further row can appear there. A transaction that stays open delays the feed
//! and loses nothing.
//!
//! The same holds on a streaming replica with the replica's own watermark. A replica learns of
//! transactions in the order of the primary's log, and treats every id below the highest one it
//! has seen as running until it has replayed the end of that transaction. So everything below
//! its watermark has ended on the primary and is visible here, and its watermark is never ahead
//! of the primary's. A reader that changes between servers has one position in one order: on a
//! server that is behind this position, it finds nothing and keeps its position.

mod completeness;
mod cursor;
mod filter;
mod replica;
mod rows;
mod state;
mod updates;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::AssertSqlSafe;

pub use self::completeness::{Completeness, FeedCompleteness};
pub use self::cursor::Cursor;
use self::cursor::Position;
use self::replica::Replica;
use self::rows::{Order, PageRows, columns, find_scan_end, load_rows, read_signal};
use self::state::load_state;
pub use self::updates::{FeedWatermark, UpdatedTenants};
use super::Signal;
use crate::crypto::Keyring;
use crate::db::{Db, DbError, Role, TenantScope};
use crate::model::{ConnectionId, SignalId, SignalKind};

/// The filters and the size of a page. An empty list matches all Signals.
#[derive(Debug, Clone, Default)]
pub struct FeedQuery {
    /// Slugs of providers.
    pub sources: Vec<String>,
    /// Kinds of Signals.
    pub kinds: Vec<SignalKind>,
    /// Ids of connections.
    pub connection_ids: Vec<ConnectionId>,
    /// Only Signals that happened at this time or later.
    pub since: Option<DateTime<Utc>>,
    /// Only Signals that happened before this time.
    pub until: Option<DateTime<Utc>>,
    /// The maximum number of Signals.
    pub limit: u32,
    /// Whether each Signal includes the provider's object.
    pub include_raw: bool,
}

/// A page of Signals.
#[derive(Debug)]
pub struct FeedPage {
    /// The Signals, in the order of the request.
    pub signals: Vec<Signal>,
    /// The cursor of the next page. Always present in feed order: a reader at the end polls with
    /// it.
    pub next_cursor: Option<String>,
    /// Whether more can be read now.
    ///
    /// A page whose filters skip many rows may have few Signals or none and still be followed by
    /// more.
    pub has_more: bool,
    /// The completeness of the feed over the connections that match the query.
    pub completeness: FeedCompleteness,
    /// Everything below this transaction id was readable when the page was read.
    pub watermark: u64,
    generation: i32,
    /// For each Signal, the position after it.
    positions: Vec<Position>,
}

/// An error of a read of the feed.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The cursor is not authentic, or belongs to another tenant or another order.
    #[error("malformed feed cursor")]
    MalformedCursor,
    /// The cursor is authentic, and a reader that follows it could miss Signals.
    #[error("feed cursor belongs to another generation of the feed")]
    CursorExpired,
    /// The replica is behind its reader's cursor, or has replayed nothing for too long.
    ///
    /// The read is repeated on the primary.
    #[error("read replica lags behind the primary")]
    ReplicaLagging,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Reads Signals from the replica while its circuit breaker is closed, else from the primary.
#[derive(Debug, Clone)]
pub struct Feed {
    primary: Db,
    replica: Option<Arc<Replica>>,
    keyring: Arc<Keyring>,
}

impl Feed {
    /// A feed over these pools; the keyring authenticates cursors.
    pub fn new(primary: Db, replica: Option<Db>, role: Role, keyring: Arc<Keyring>) -> Self {
        Self {
            primary,
            replica: replica.map(|db| Arc::new(Replica::new(db, role))),
            keyring,
        }
    }

    /// Reads the page after `cursor` in feed order; without a cursor, the first page.
    pub async fn read_page(
        &self,
        scope: &TenantScope,
        cursor: Option<&str>,
        query: &FeedQuery,
    ) -> Result<FeedPage, FeedError> {
        self.read(|db| self.load_feed_page(db, scope, cursor, query))
            .await
    }

    async fn load_feed_page(
        &self,
        db: Db,
        scope: &TenantScope,
        cursor: Option<&str>,
        query: &FeedQuery,
    ) -> Result<FeedPage, FeedError> {
        let cursor = self.open(scope, cursor)?;
        let (tx_id, seq) = match cursor.map(|cursor| cursor.position) {
            None => (0, 0),
            Some(Position::Feed { tx_id, seq }) => (tx_id, seq),
            Some(Position::Recent { .. }) => return Err(FeedError::MalformedCursor),
        };
        let order = Order::Feed { tx_id, seq };
        let (mut page, watermark) = self.load_page(db, scope, cursor, &order, query).await?;
        if !page.has_more {
            // Everything below the watermark has been scanned, including the rows that a filter
            // skipped, so the next read starts there. A replica may be behind its reader.
            let position = (tx_id, seq).max(last_position_below(watermark));
            page.next_cursor = Some(self.seal(scope, page.generation, &feed_position(position)));
        }
        Ok(page)
    }

    /// Reads a page of the newest Signals by the providers' time, for people.
    ///
    /// Signals that arrive late appear at their place in time, so a reader that follows this
    /// order misses them.
    pub async fn read_recent(
        &self,
        scope: &TenantScope,
        cursor: Option<&str>,
        query: &FeedQuery,
    ) -> Result<FeedPage, FeedError> {
        self.read(|db| self.load_recent_page(db, scope, cursor, query))
            .await
    }

    async fn load_recent_page(
        &self,
        db: Db,
        scope: &TenantScope,
        cursor: Option<&str>,
        query: &FeedQuery,
    ) -> Result<FeedPage, FeedError> {
        let cursor = self.open(scope, cursor)?;
        let before = match cursor.map(|cursor| cursor.position) {
            None => None,
            Some(Position::Recent { occurred_at, id }) => Some((occurred_at, id)),
            Some(Position::Feed { .. }) => return Err(FeedError::MalformedCursor),
        };
        let order = Order::Recent { before };
        let (mut page, _) = self.load_page(db, scope, cursor, &order, query).await?;
        if !page.has_more {
            page.next_cursor = None;
        }
        Ok(page)
    }

    /// Reads one Signal.
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
        // The caller may have the id from the primary, which the replica follows with a delay.
        get(self.primary.clone(), scope, id, include_raw).await
    }

    /// The cursor at the current end of the feed, for a reader of new Signals only.
    pub async fn end_cursor(&self, scope: &TenantScope) -> Result<String, FeedError> {
        let state = self
            .read(async |db| {
                let mut tx = db.begin(scope).await?;
                let state = load_state(&mut tx).await?;
                tx.end_read();
                Ok(state)
            })
            .await?;
        let position = feed_position(last_position_below(state.watermark));
        Ok(self.seal(scope, state.generation, &position))
    }

    /// The cursor after each Signal of a page.
    pub fn cursors(&self, scope: &TenantScope, page: &FeedPage) -> Vec<String> {
        let positions = page.positions.iter();
        positions
            .map(|position| self.seal(scope, page.generation, position))
            .collect()
    }

    /// Runs a read on the replica, and on the primary if the replica fails or lags.
    async fn read<T, F>(&self, read: impl Fn(Db) -> F) -> Result<T, FeedError>
    where
        F: Future<Output = Result<T, FeedError>>,
    {
        if let Some(replica) = &self.replica
            && let Some(db) = replica.available().await
        {
            match read(db).await {
                Err(error @ FeedError::ReplicaLagging) => replica.trip(&error),
                Err(FeedError::Db(error)) if error.is_unavailable() => replica.trip(&error),
                result => {
                    replica.reset();
                    return result;
                }
            }
        }
        match read(self.primary.clone()).await {
            Err(FeedError::Db(error)) if error.is_lost() => read(self.primary.clone()).await,
            result => result,
        }
    }

    fn open(&self, scope: &TenantScope, cursor: Option<&str>) -> Result<Option<Cursor>, FeedError> {
        let Some(text) = cursor else { return Ok(None) };
        Cursor::open(&self.keyring, scope.tenant_id(), text)
            .ok_or(FeedError::MalformedCursor)
            .map(Some)
    }

    fn seal(&self, scope: &TenantScope, generation: i32, position: &Position) -> String {
        Cursor {
            generation,
            position: *position,
        }
        .seal(&self.keyring, scope.tenant_id())
    }

    /// Reads a page and returns it with its watermark.
    async fn load_page(
        &self,
        db: Db,
        scope: &TenantScope,
        cursor: Option<Cursor>,
        order: &Order,
        query: &FeedQuery,
    ) -> Result<(FeedPage, u64), FeedError> {
        let mut tx = db.begin(scope).await?;
        let PageRows {
            state,
            completeness,
            mut rows,
        } = load_rows(&mut tx, scope, order, query).await?;
        if let Some(cursor) = cursor {
            state.check_cursor(cursor)?;
        }
        let is_full = rows.len() > query.limit as usize;
        // The page after one that is not full starts where its scan ended.
        let scan_end = if is_full {
            None
        } else {
            find_scan_end(&mut tx, scope, order, state.watermark, query).await?
        };
        tx.end_read();
        rows.truncate(query.limit as usize);
        let mut signals = Vec::with_capacity(rows.len());
        let mut positions = Vec::with_capacity(rows.len());
        for (position, row) in rows {
            signals.push(read_signal(&row, scope, query.include_raw)?);
            positions.push(position);
        }
        let page = FeedPage {
            next_cursor: scan_end
                .as_ref()
                .or(positions.last())
                .map(|position| self.seal(scope, state.generation, position)),
            signals,
            has_more: is_full || scan_end.is_some(),
            completeness,
            watermark: state.watermark,
            generation: state.generation,
            positions,
        };
        Ok((page, state.watermark))
    }
}

async fn get(
    db: Db,
    scope: &TenantScope,
    id: SignalId,
    include_raw: bool,
) -> Result<Option<Signal>, FeedError> {
    let mut tx = db.begin(scope).await?;
    load_state(&mut tx).await?;
    let row = sqlx::query(AssertSqlSafe(format!(
        "SELECT {} FROM signals WHERE tenant_id = $1 AND id = $2",
        columns(include_raw)
    )))
    .bind(scope.tenant_id())
    .bind(id)
    .fetch_optional(&mut *tx)
    .await
    .map_err(DbError::from)?;
    tx.end_read();
    Ok(row
        .map(|row| read_signal(&row, scope, include_raw))
        .transpose()?)
}

/// The last position below the watermark.
fn last_position_below(watermark: u64) -> (u64, i64) {
    (watermark.saturating_sub(1), i64::MAX)
}

const fn feed_position((tx_id, seq): (u64, i64)) -> Position {
    Position::Feed { tx_id, seq }
}
