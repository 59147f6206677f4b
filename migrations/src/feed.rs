//! The feed's generation. The feed is ordered by transaction ids, which mean nothing in
//! another cluster; there a new generation begins, in which every Signal is told again in
//! one order, and cursors of the former are refused instead of leading astray.

use sea_orm_migration::sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, TransactionTrait};

/// Begins a new generation when the database now lives in another cluster than the current
/// one began in. Answers whether it did.
pub async fn renew_after_restore(database: &DatabaseConnection) -> Result<bool, DbErr> {
    begin_generation(database, MOVED).await
}

/// Begins a new generation in any case: after a recovery that lost the newest transactions,
/// whose ids the cluster will give out again.
pub async fn renew(database: &DatabaseConnection) -> Result<(), DbErr> {
    begin_generation(database, "true").await.map(drop)
}

const MOVED: &str = "latest.system_identifier <> here.system_identifier::text";

/// Every Signal gets the same transaction id, older than any that will be given out, and so
/// keeps the order of `seq`. Row-level security binds the owner, too; it is lifted inside
/// the transaction, under the lock that the change of the table takes.
async fn begin_generation(database: &DatabaseConnection, when: &str) -> Result<bool, DbErr> {
    let tx = database.begin().await?;
    tx.execute_unprepared("LOCK TABLE feed_generations IN EXCLUSIVE MODE")
        .await?;
    let begun = tx
        .execute_unprepared(&format!(
            "INSERT INTO feed_generations (generation, system_identifier) \
             SELECT latest.generation + 1, here.system_identifier::text \
             FROM (SELECT * FROM feed_generations ORDER BY generation DESC LIMIT 1) latest, \
                  pg_control_system() here \
             WHERE {when}"
        ))
        .await?
        .rows_affected()
        > 0;
    if begun {
        tx.execute_unprepared(
            "ALTER TABLE signals NO FORCE ROW LEVEL SECURITY; \
             UPDATE signals SET tx_id = '1'; \
             ALTER TABLE signals FORCE ROW LEVEL SECURITY",
        )
        .await?;
    }
    tx.commit().await?;
    Ok(begun)
}
