//! The feed: every Signal of a tenant exactly once, in an order that never changes.
//!
//! Sequence numbers and timestamps are given out before a transaction commits, so a reader
//! that follows them passes rows that are still to appear. The feed follows the id of the
//! writing transaction instead, and shows only what lies below the oldest transaction that
//! still runs: nothing can appear there any more. A transaction left open somewhere holds
//! the feed back, it never makes it lose anything.

mod completeness;
mod cursor;

use std::str::FromStr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, Row};

pub use self::completeness::{Behind, Completeness};
use self::cursor::{Cursor, Position};
use super::signal::Body;
use super::{Payload, Signal, SignalKind};
use crate::crypto::Keyring;
use crate::db::{Db, DbError, TenantScope, Tx};
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
    /// Whether more can be read at once.
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
    /// Postgres did not answer.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Reads Signals, from a replica where there is one.
#[derive(Debug, Clone)]
pub struct Feed {
    primary: Db,
    replica: Option<Db>,
    keyring: Arc<Keyring>,
}

impl Feed {
    /// A feed over these pools; cursors are authenticated with a key of the ring.
    pub const fn new(primary: Db, replica: Option<Db>, keyring: Arc<Keyring>) -> Self {
        Self {
            primary,
            replica,
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
        let mut tx = self.begin(scope).await?;
        let State {
            generation,
            watermark,
            completeness,
        } = state(&mut tx, scope, query).await?;
        let (tx_id, seq) = match self.open(scope, cursor, generation)? {
            None => (0, 0),
            Some(Position::Feed { tx_id, seq }) => (tx_id, seq),
            Some(Position::Recent { .. }) => return Err(FeedError::MalformedCursor),
        };
        let rows = select(
            &mut tx,
            scope,
            &Order::Feed {
                tx_id,
                seq,
                watermark,
            },
            query,
        )
        .await?;
        tx.commit().await.map_err(DbError::from)?;
        let mut page = self.build(scope, generation, rows, query, true)?;
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
        let mut tx = self.begin(scope).await?;
        let State {
            generation,
            completeness,
            ..
        } = state(&mut tx, scope, query).await?;
        let before = match self.open(scope, cursor, generation)? {
            None => None,
            Some(Position::Recent { occurred_at, id }) => Some((occurred_at, id)),
            Some(Position::Feed { .. }) => return Err(FeedError::MalformedCursor),
        };
        let rows = select(&mut tx, scope, &Order::Recent { before }, query).await?;
        tx.commit().await.map_err(DbError::from)?;
        let mut page = self.build(scope, generation, rows, query, false)?;
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
    ) -> Result<Option<Signal>, DbError> {
        let mut tx = self.begin(scope).await?;
        let row = sqlx::query(AssertSqlSafe(format!(
            "SELECT {} FROM signals WHERE tenant_id = $1 AND id = $2",
            columns(include_raw)
        )))
        .bind(scope.tenant_id())
        .bind(id)
        .fetch_optional(&mut *tx)
        .await?;
        tx.commit().await?;
        row.map(|row| signal(&row, include_raw)).transpose()
    }

    /// The cursor at the end of the feed as it is now: a reader that wants only news.
    pub async fn end(&self, scope: &TenantScope) -> Result<String, FeedError> {
        let mut tx = self.begin(scope).await?;
        let State {
            generation,
            watermark,
            ..
        } = state(&mut tx, scope, &FeedQuery::default()).await?;
        tx.commit().await.map_err(DbError::from)?;
        let position = feed_position(end_below(watermark));
        Ok(self.seal(scope, generation, &position))
    }

    /// For each Signal of a page, the cursor that goes on behind it.
    pub fn cursors(&self, scope: &TenantScope, page: &FeedPage) -> Vec<String> {
        let positions = page.positions.iter();
        positions
            .map(|position| self.seal(scope, page.generation, position))
            .collect()
    }

    /// A replica that is away is no reason to be away: the primary answers instead.
    async fn begin(&self, scope: &TenantScope) -> Result<Tx, DbError> {
        if let Some(replica) = &self.replica {
            match replica.begin(scope).await {
                Err(error) if error.is_unavailable() => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the replica is away"
                    );
                }
                result => return result,
            }
        }
        self.primary.begin(scope).await
    }

    fn open(
        &self,
        scope: &TenantScope,
        cursor: Option<&str>,
        generation: i32,
    ) -> Result<Option<Position>, FeedError> {
        let Some(text) = cursor else { return Ok(None) };
        let cursor = Cursor::open(&self.keyring, scope.tenant_id(), text)
            .ok_or(FeedError::MalformedCursor)?;
        if cursor.generation != generation {
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

    fn build(
        &self,
        scope: &TenantScope,
        generation: i32,
        mut rows: Vec<PgRow>,
        query: &FeedQuery,
        feed_order: bool,
    ) -> Result<FeedPage, FeedError> {
        let has_more = rows.len() > query.limit as usize;
        rows.truncate(query.limit as usize);
        let mut signals = Vec::with_capacity(rows.len());
        let mut positions = Vec::with_capacity(rows.len());
        for row in &rows {
            let signal = signal(row, query.include_raw)?;
            let position = if feed_order {
                let tx_id = number(row, "tx_id_text")?;
                Position::Feed {
                    tx_id,
                    seq: row.try_get("seq").map_err(DbError::from)?,
                }
            } else {
                Position::Recent {
                    occurred_at: signal.timestamp,
                    id: signal.id,
                }
            };
            positions.push(position);
            signals.push(signal);
        }
        Ok(FeedPage {
            next_cursor: positions
                .last()
                .map(|position| self.seal(scope, generation, position)),
            signals,
            has_more,
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
    /// How far each connection has been read.
    completeness: Vec<Completeness>,
}

async fn state(tx: &mut Tx, scope: &TenantScope, query: &FeedQuery) -> Result<State, FeedError> {
    let statement = format!(
        "SELECT g.generation, g.system_identifier = c.system_identifier::text AS same, \
             pg_snapshot_xmin(pg_current_snapshot())::text AS watermark, {} \
         FROM feed_generations g, pg_control_system() c ORDER BY g.generation DESC LIMIT 1",
        completeness::COLUMN
    );
    let row = sqlx::query(AssertSqlSafe(statement))
        .bind(scope.tenant_id())
        .bind(&query.sources)
        .bind(&query.connection_ids)
        .fetch_one(&mut **tx)
        .await
        .map_err(DbError::from)?;
    if !row.try_get::<bool, _>("same").map_err(DbError::from)? {
        return Err(DbError::Corrupt(
            "the database was restored into another cluster; run `migrations up`",
        )
        .into());
    }
    let connections: Option<Json<Vec<completeness::Row>>> =
        row.try_get("connections").map_err(DbError::from)?;
    Ok(State {
        generation: row.try_get("generation").map_err(DbError::from)?,
        watermark: number(&row, "watermark")?,
        completeness: connections
            .map_or_else(Vec::new, |rows| rows.0)
            .into_iter()
            .map(Completeness::from)
            .collect(),
    })
}

/// Behind everything that is settled.
fn end_below(watermark: u64) -> (u64, i64) {
    (watermark.saturating_sub(1), i64::MAX)
}

const fn feed_position((tx_id, seq): (u64, i64)) -> Position {
    Position::Feed { tx_id, seq }
}

/// Which rows follow, and how they are sorted.
enum Order {
    /// Behind this row, below the watermark.
    Feed {
        tx_id: u64,
        seq: i64,
        watermark: u64,
    },
    /// Before this row by the providers' time; from the newest without one.
    Recent {
        before: Option<(DateTime<Utc>, SignalId)>,
    },
}

/// `tx_id` is given out as text under another name: an alias would be what `ORDER BY` sorts
/// by, and as text 9999 comes after 10000.
fn columns(include_raw: bool) -> &'static str {
    if include_raw {
        "id, tenant_id, connection_id, source, kind, occurred_at, received_at, schema_version, \
         body, tx_id::text AS tx_id_text, seq, raw"
    } else {
        "id, tenant_id, connection_id, source, kind, occurred_at, received_at, schema_version, \
         body, tx_id::text AS tx_id_text, seq"
    }
}

/// Served by `signals_feed` or `signals_recent`. Only the filters that are set appear, so
/// that the plan never has to guess; every value is bound.
async fn select(
    tx: &mut Tx,
    scope: &TenantScope,
    order: &Order,
    query: &FeedQuery,
) -> Result<Vec<PgRow>, DbError> {
    let mut statement = sqlx::QueryBuilder::new("SELECT ");
    statement.push(columns(query.include_raw));
    statement
        .push(" FROM signals WHERE tenant_id = ")
        .push_bind(scope.tenant_id());
    match order {
        Order::Feed {
            tx_id,
            seq,
            watermark,
        } => {
            statement
                .push(" AND (tx_id, seq) > (")
                .push_bind(tx_id.to_string());
            statement.push("::text::xid8, ").push_bind(*seq);
            statement
                .push(") AND tx_id < ")
                .push_bind(watermark.to_string());
            statement.push("::text::xid8");
        }
        Order::Recent {
            before: Some((occurred_at, id)),
        } => {
            statement
                .push(" AND (occurred_at, id) < (")
                .push_bind(*occurred_at);
            statement.push(", ").push_bind(*id).push(")");
        }
        Order::Recent { before: None } => {}
    }
    if !query.sources.is_empty() {
        statement
            .push(" AND source = ANY (")
            .push_bind(query.sources.clone())
            .push(")");
    }
    if !query.kinds.is_empty() {
        let kinds: Vec<String> = query
            .kinds
            .iter()
            .map(|kind| kind.as_str().to_owned())
            .collect();
        statement
            .push(" AND kind = ANY (")
            .push_bind(kinds)
            .push(")");
    }
    if !query.connection_ids.is_empty() {
        statement
            .push(" AND connection_id = ANY (")
            .push_bind(query.connection_ids.clone())
            .push(")");
    }
    if let Some(since) = query.since {
        statement.push(" AND occurred_at >= ").push_bind(since);
    }
    if let Some(until) = query.until {
        statement.push(" AND occurred_at < ").push_bind(until);
    }
    statement.push(match order {
        Order::Feed { .. } => " ORDER BY tx_id, seq LIMIT ",
        Order::Recent { .. } => " ORDER BY occurred_at DESC, id DESC LIMIT ",
    });
    statement.push_bind(i64::from(query.limit) + 1);
    Ok(statement.build().fetch_all(&mut **tx).await?)
}

fn signal(row: &PgRow, include_raw: bool) -> Result<Signal, DbError> {
    let body: Json<Body<Box<RawValue>>> = row.try_get("body")?;
    let body = body.0;
    let kind: String = row.try_get("kind")?;
    let raw = if include_raw {
        let raw: Json<Box<RawValue>> = row.try_get("raw")?;
        Some(Arc::from(raw.0))
    } else {
        None
    };
    Ok(Signal {
        id: row.try_get("id")?,
        tenant_id: row.try_get("tenant_id")?,
        connection_id: row.try_get("connection_id")?,
        source: row.try_get("source")?,
        kind: SignalKind::from_str(&kind)
            .map_err(|_| DbError::Corrupt("a Signal's kind is unknown"))?,
        timestamp: row.try_get("occurred_at")?,
        received_at: row.try_get("received_at")?,
        actor: body.actor,
        subject: body.subject,
        context: body.context,
        payload: Payload {
            normalized: Arc::from(body.normalized),
            raw,
        },
        schema_version: row.try_get("schema_version")?,
    })
}

fn number(row: &PgRow, column: &str) -> Result<u64, DbError> {
    let text: String = row.try_get(column)?;
    text.parse()
        .map_err(|_| DbError::Corrupt("a transaction id is not a number"))
}
