//! Query for the tenants with new Signals, shared by all idle readers of a process.

use sqlx::{AssertSqlSafe, Row};

use super::state::{FROM_CURRENT_GENERATION, STATE_COLUMNS, State};
use super::{Feed, FeedError};
use crate::db::{Db, DbError, Json, TenantScope};
use crate::model::TenantId;

/// The feed's watermark in its generation, the same for all tenants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedWatermark {
    /// The feed's generation.
    pub generation: i32,
    /// The oldest transaction id that still runs; everything below it can be read.
    pub tx_id: u64,
}

impl From<State> for FeedWatermark {
    fn from(state: State) -> Self {
        Self {
            generation: state.generation,
            tx_id: state.watermark,
        }
    }
}

/// The tenants whose feeds have new Signals.
#[derive(Debug)]
pub struct UpdatedTenants {
    /// The watermark of the query; Signals of older transactions are included.
    pub watermark: FeedWatermark,
    /// The tenants with new Signals.
    pub tenants: Vec<TenantId>,
}

impl Feed {
    /// Reads the watermark in one small statement.
    ///
    /// While it does not change, no feed has new Signals.
    pub async fn watermark(&self) -> Result<FeedWatermark, FeedError> {
        self.read(load_watermark).await
    }

    /// Finds those of `tenants` that have readable Signals of transactions from `from` on.
    ///
    /// One lookup per tenant in the index `signals_feed`.
    pub async fn find_updated_tenants(
        &self,
        tenants: &[TenantScope],
        from: u64,
    ) -> Result<UpdatedTenants, FeedError> {
        self.read(|db| load_updated_tenants(db, tenants, from))
            .await
    }
}

async fn load_watermark(db: Db) -> Result<FeedWatermark, FeedError> {
    let statement =
        format!("SELECT row_to_json(s) FROM (SELECT {STATE_COLUMNS} {FROM_CURRENT_GENERATION}) s");
    let Json(state): Json<State> = sqlx::query_scalar(AssertSqlSafe(statement))
        .fetch_one(&db)
        .await
        .map_err(DbError::from)?;
    Ok(state.verify()?.into())
}

async fn load_updated_tenants(
    db: Db,
    tenants: &[TenantScope],
    from: u64,
) -> Result<UpdatedTenants, FeedError> {
    let ids: Vec<TenantId> = tenants.iter().map(TenantScope::tenant_id).collect();
    let mut tx = db.begin_many(tenants).await?;
    let statement = format!(
        "SELECT row_to_json(s) AS state, ARRAY( \
             SELECT t.id FROM unnest($1::uuid[]) t (id) WHERE EXISTS ( \
                 SELECT 1 FROM signals f WHERE f.tenant_id = t.id \
                   AND f.tx_id >= $2::text::xid8 \
                   AND f.tx_id < pg_snapshot_xmin(pg_current_snapshot()))) AS tenants \
         FROM (SELECT {STATE_COLUMNS} {FROM_CURRENT_GENERATION}) s"
    );
    let row = sqlx::query(AssertSqlSafe(statement))
        .bind(ids)
        .bind(from.to_string())
        .fetch_one(&mut *tx)
        .await
        .map_err(DbError::from)?;
    tx.end_read();
    let Json(state): Json<State> = row.try_get("state").map_err(DbError::from)?;
    Ok(UpdatedTenants {
        watermark: state.verify()?.into(),
        tenants: row.try_get("tenants").map_err(DbError::from)?,
    })
}
