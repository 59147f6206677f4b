//! SQL migrations, applied without blocking running processes.

use std::time::Duration;

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{DatabaseConnection, RuntimeErr};

/// Maximum number of attempts of a migration that cannot get a lock.
const MAX_LOCK_ATTEMPTS: u32 = 120;
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Statements of the processes queue behind a pending lock request, so the wait is short.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '200ms'";
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// A migration that consists of SQL texts.
#[derive(Debug, Clone, Copy)]
pub struct Script {
    /// The name that the database records.
    pub name: &'static str,
    /// The texts that apply it.
    pub up: &'static [&'static str],
    /// The texts that revert it.
    pub down: &'static [&'static str],
    /// Whether it runs in one transaction.
    ///
    /// Without one, for `CREATE INDEX CONCURRENTLY`, each text is one statement, and an interrupted
    /// run must be repeatable.
    pub transaction: bool,
}

impl MigrationName for Script {
    fn name(&self) -> &str {
        self.name
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Script {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if self.transaction {
            run(&[LOCK_TIMEOUT], manager).await?;
        }
        run(self.up, manager).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run(self.down, manager).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(self.transaction)
    }
}

/// Applies all pending migrations.
///
/// A migration that cannot lock a table in time is rolled back and retried, so that a long
/// transaction delays the migration and not the processes.
///
/// # Errors
///
/// When a migration fails, or a table stays locked for two minutes. Earlier migrations stay
/// applied.
pub async fn up<M: MigratorTrait>(database: &DatabaseConnection) -> Result<(), DbErr> {
    let mut attempt = 1;
    loop {
        match M::up(database, None).await {
            Err(error) if attempt < MAX_LOCK_ATTEMPTS && is_lock_timeout(&error) => {
                tracing::warn!(
                    attempt,
                    "table is locked by another transaction, retrying in a second"
                );
                tokio::time::sleep(RETRY_INTERVAL).await;
                attempt += 1;
            }
            result => return result,
        }
    }
}

async fn run(texts: &[&str], manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    for text in texts {
        manager.get_connection().execute_unprepared(text).await?;
    }
    Ok(())
}

fn is_lock_timeout(error: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(cause)) | DbErr::Query(RuntimeErr::SqlxError(cause))) =
        error
    else {
        return false;
    };
    let error = cause.as_database_error();
    error.is_some_and(|error| error.code().is_some_and(|code| code == LOCK_NOT_AVAILABLE))
}
