//! Whose feed has grown: what a process that holds many idle readers asks for all of them.

use sqlx::{AssertSqlSafe, Row};

use super::state::{NEWEST, STATE, State};
use super::{Feed, FeedError};
use crate::db::{Db, DbError, Json, TenantScope};
use crate::ids::TenantId;

/// Where the feed stands, for all tenants alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The feed's generation.
    pub generation: i32,
    /// Everything below this transaction id can be read.
    pub watermark: u64,
}

impl From<State> for Mark {
    fn from(state: State) -> Self {
        Self {
            generation: state.generation,
            watermark: state.watermark,
        }
    }
}

/// The tenants whose feed has grown.
#[derive(Debug)]
pub struct Growth {
    /// Up to where it was looked.
    pub mark: Mark,
    /// The tenants.
    pub tenants: Vec<TenantId>,
}

impl Feed {
    /// Where the feed stands; one small statement. No feed has grown while it stays the same.
    pub async fn mark(&self) -> Result<Mark, FeedError> {
        self.read(mark).await
    }

    /// Which of these tenants have Signals of transactions from `from` on that can be read.
    /// Looks once per tenant into the index `signals_feed`.
    pub async fn growth(&self, tenants: &[TenantScope], from: u64) -> Result<Growth, FeedError> {
        self.read(|db| growth(db, tenants, from)).await
    }
}

async fn mark(db: Db) -> Result<Mark, FeedError> {
    let statement = format!("SELECT row_to_json(s) FROM (SELECT {STATE} {NEWEST}) s");
    let Json(state): Json<State> = sqlx::query_scalar(AssertSqlSafe(statement))
        .fetch_one(&db)
        .await
        .map_err(DbError::from)?;
    Ok(state.checked()?.into())
}

async fn growth(db: Db, tenants: &[TenantScope], from: u64) -> Result<Growth, FeedError> {
    let ids: Vec<TenantId> = tenants.iter().map(TenantScope::tenant_id).collect();
    let mut tx = db.begin_many(tenants).await?;
    let statement = format!(
        "SELECT row_to_json(s) AS state, ARRAY( \
             SELECT t.id FROM unnest($1::uuid[]) t (id) WHERE EXISTS ( \
                 SELECT 1 FROM signals f WHERE f.tenant_id = t.id \
                   AND f.tx_id >= $2::text::xid8 \
                   AND f.tx_id < pg_snapshot_xmin(pg_current_snapshot()))) AS tenants \
         FROM (SELECT {STATE} {NEWEST}) s"
    );
    let row = sqlx::query(AssertSqlSafe(statement))
        .bind(ids)
        .bind(from.to_string())
        .fetch_one(&mut *tx)
        .await
        .map_err(DbError::from)?;
    tx.leave();
    let Json(state): Json<State> = row.try_get("state").map_err(DbError::from)?;
    Ok(Growth {
        mark: state.checked()?.into(),
        tenants: row.try_get("tenants").map_err(DbError::from)?,
    })
}
