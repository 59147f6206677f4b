//! The schema, the three runtime roles and the policies between tenants.
//!
//! Each migration is a pair of SQL files, run in one transaction by `SeaORM`'s migrator.
//! The migrator connects as the owner of the database; the processes never do.

use sea_orm_migration::prelude::*;

pub mod feed;
mod m20261123_000001_foundation;
mod m20261124_000002_dead_jobs;
mod m20261125_000003_providers;
mod m20261126_000004_completeness;
mod m20261126_000005_backlog;

pub use sea_orm_migration::sea_orm;

/// All migrations, oldest first.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261123_000001_foundation::Migration),
            Box::new(m20261124_000002_dead_jobs::Migration),
            Box::new(m20261125_000003_providers::Migration),
            Box::new(m20261126_000004_completeness::Migration),
            Box::new(m20261126_000005_backlog::Migration),
        ]
    }
}
