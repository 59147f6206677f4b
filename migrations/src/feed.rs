//! Generations of the feed.
//!
//! The feed is ordered by transaction ids, which are meaningless in another cluster. A restore into
//! one begins a new generation: it contains all Signals in a new order, and cursors of previous
//! generations are rejected.

use sea_orm_migration::sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, TransactionTrait};

/// Begins a new generation if the database was restored into another cluster; returns whether.
pub async fn renew_after_restore(database: &DatabaseConnection) -> Result<bool, DbErr> {
    begin_generation(database, CLUSTER_CHANGED).await
}

/// Begins a new generation unconditionally.
///
/// Required after a recovery that lost the newest transactions, because the cluster assigns their
/// ids again.
pub async fn renew(database: &DatabaseConnection) -> Result<(), DbErr> {
    begin_generation(database, "true").await.map(drop)
}

const CLUSTER_CHANGED: &str = "latest.system_identifier <> here.system_identifier::text";

/// Begins a new generation if `condition` holds; returns whether it did.
///
/// All Signals get the same transaction id, lower than every future one, so they keep the order of
/// `seq`. Row-level security applies to the owner as well; it is suspended within the transaction,
/// under the lock of `ALTER TABLE`.
async fn begin_generation(database: &DatabaseConnection, condition: &str) -> Result<bool, DbErr> {
    let tx = database.begin().await?;
    tx.execute_unprepared("LOCK TABLE feed_generations IN EXCLUSIVE MODE")
        .await?;
    let is_begun = tx
        .execute_unprepared(&format!(
            "INSERT INTO feed_generations (generation, system_identifier) \
             SELECT latest.generation + 1, here.system_identifier::text \
             FROM (SELECT * FROM feed_generations ORDER BY generation DESC LIMIT 1) latest, \
                  pg_control_system() here \
             WHERE {condition}"
        ))
        .await?
        .rows_affected()
        > 0;
    if is_begun {
        tx.execute_unprepared(
            "ALTER TABLE signals NO FORCE ROW LEVEL SECURITY; \
             UPDATE signals SET tx_id = '1'; \
             ALTER TABLE signals FORCE ROW LEVEL SECURITY",
        )
        .await?;
    }
    tx.commit().await?;
    Ok(is_begun)
}
