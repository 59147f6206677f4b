//! The operations that the programs `migrations` and `poblysh` share.

use sea_orm_migration::MigratorTrait;
use sea_orm_migration::sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbErr, Statement,
};

use crate::{Migrator, feed, script};

/// A migration of this release, or of a newer one that the database knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationState {
    /// The name.
    pub name: String,
    /// Whether it is applied.
    pub is_applied: bool,
    /// Whether this release has it.
    pub is_known: bool,
}

/// Connects to the database of a URL, whose user is the owner.
///
/// # Errors
///
/// When the database is not reachable or rejects the user.
pub async fn connect(url: String) -> Result<DatabaseConnection, DbErr> {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    Database::connect(options).await
}

/// Applies all pending migrations, and returns whether a new generation of the feed began.
///
/// It begins one in a database that was restored into another cluster.
///
/// # Errors
///
/// When a migration fails; earlier ones stay applied.
pub async fn apply(database: &DatabaseConnection) -> Result<bool, DbErr> {
    script::up::<Migrator>(database).await?;
    feed::renew_after_restore(database).await
}

/// The names of the migrations of this release, oldest first.
pub fn names() -> Vec<String> {
    let all = Migrator::migrations();
    all.iter().map(|one| one.name().to_owned()).collect()
}

/// Lists the migrations of this release and those that the database has besides; changes nothing.
///
/// # Errors
///
/// When the table of migrations cannot be read.
pub async fn list(database: &DatabaseConnection) -> Result<Vec<MigrationState>, DbErr> {
    let applied = applied(database).await?;
    Ok(compare(&applied))
}

/// Compares the applied migrations with those of this release.
pub fn compare(applied: &[String]) -> Vec<MigrationState> {
    let known = names();
    let newer: Vec<&String> = applied.iter().filter(|one| !known.contains(one)).collect();
    let ours = known.iter().map(|name| MigrationState {
        name: name.clone(),
        is_applied: applied.contains(name),
        is_known: true,
    });
    let newer = newer.into_iter().map(|name| MigrationState {
        name: name.clone(),
        is_applied: true,
        is_known: false,
    });
    ours.chain(newer).collect()
}

async fn applied(database: &DatabaseConnection) -> Result<Vec<String>, DbErr> {
    let backend = database.get_database_backend();
    let exists = "SELECT to_regclass('seaql_migrations') IS NOT NULL AS exists";
    let row = database
        .query_one_raw(Statement::from_string(backend, exists))
        .await?;
    if !row.is_some_and(|row| row.try_get("", "exists").unwrap_or(false)) {
        return Ok(Vec::new());
    }
    let names = "SELECT version FROM seaql_migrations ORDER BY version";
    let rows = database
        .query_all_raw(Statement::from_string(backend, names))
        .await?;
    rows.iter().map(|row| row.try_get("", "version")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pending_and_newer_migrations_are_listed() {
        let known = names();
        let pending = compare(&[]);
        assert!(pending.iter().all(|one| one.is_known && !one.is_applied));
        assert_eq!(pending.len(), known.len());
        let mut applied = known;
        applied.push("m2999_newer".to_owned());
        let states = compare(&applied);
        assert!(states.iter().all(|one| one.is_applied));
        let newer: Vec<_> = states.iter().filter(|one| !one.is_known).collect();
        assert_eq!(newer.len(), 1);
        assert_eq!(newer[0].name, "m2999_newer");
    }
}
