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
mod growth;
mod replica;
mod rows;
mod state;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::AssertSqlSafe;

pub use self::completeness::{Completeness, FeedCompleteness};
pub use self::cursor::Cursor;
use self::cursor::Position;
pub use self::growth::{Growth, Mark};
use self::replica::Replica;
use self::rows::{Found, Order, columns, looked_until, select, signal};
use self::state::state;
use super::{Signal, SignalKind};
use crate::crypto::Keyring;
use crate::db::{Db, DbError, Role, TenantScope};
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
    /// How far the feed is complete, over the connections that the query is about.
    pub completeness: FeedCompleteness,
    /// Everything below this transaction id was readable when the page was read.
    pub watermark: u64,
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
        let cursor = self.open(scope, cursor)?;
        let (tx_id, seq) = match cursor.map(|cursor| cursor.position) {
            None => (0, 0),
            Some(Position::Feed { tx_id, seq }) => (tx_id, seq),
            Some(Position::Recent { .. }) => return Err(FeedError::MalformedCursor),
        };
        let order = Order::Feed { tx_id, seq };
        let (mut page, watermark) = self.read_page(db, scope, cursor, &order, query).await?;
        if !page.has_more {
            // Everything below the watermark was looked at, also what a filter passed over:
            // the next read need not look again. A replica may be behind its reader.
            let position = (tx_id, seq).max(end_below(watermark));
            page.next_cursor = Some(self.seal(scope, page.generation, &feed_position(position)));
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
        let cursor = self.open(scope, cursor)?;
        let before = match cursor.map(|cursor| cursor.position) {
            None => None,
            Some(Position::Recent { occurred_at, id }) => Some((occurred_at, id)),
            Some(Position::Feed { .. }) => return Err(FeedError::MalformedCursor),
        };
        let order = Order::Recent { before };
        let (mut page, _) = self.read_page(db, scope, cursor, &order, query).await?;
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
                tx.leave();
                Ok(state)
            })
            .await?;
        let position = feed_position(end_below(state.watermark));
        Ok(self.seal(scope, state.generation, &position))
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

    /// A page, and the watermark that it was read below.
    async fn read_page(
        &self,
        db: Db,
        scope: &TenantScope,
        cursor: Option<Cursor>,
        order: &Order,
        query: &FeedQuery,
    ) -> Result<(FeedPage, u64), FeedError> {
        let mut tx = db.begin(scope).await?;
        let Found {
            state,
            completeness,
            mut rows,
        } = select(&mut tx, scope, order, query).await?;
        if let Some(cursor) = cursor {
            state.admit(cursor)?;
        }
        let full = rows.len() > query.limit as usize;
        // A page that is not full goes on where it stopped looking.
        let end = if full {
            None
        } else {
            looked_until(&mut tx, scope, order, state.watermark, query).await?
        };
        tx.leave();
        rows.truncate(query.limit as usize);
        let mut signals = Vec::with_capacity(rows.len());
        let mut positions = Vec::with_capacity(rows.len());
        for (position, row) in rows {
            signals.push(signal(&row, scope, query.include_raw)?);
            positions.push(position);
        }
        let page = FeedPage {
            next_cursor: end
                .as_ref()
                .or(positions.last())
                .map(|position| self.seal(scope, state.generation, position)),
            signals,
            has_more: full || end.is_some(),
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
    tx.leave();
    Ok(row
        .map(|row| signal(&row, scope, include_raw))
        .transpose()?)
}

/// Behind everything that is settled.
fn end_below(watermark: u64) -> (u64, i64) {
    (watermark.saturating_sub(1), i64::MAX)
}

const fn feed_position((tx_id, seq): (u64, i64)) -> Position {
    Position::Feed { tx_id, seq }
}
