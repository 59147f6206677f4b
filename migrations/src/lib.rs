//! The schema, the three runtime roles and the policies between tenants.
//!
//! A migration is a folder of SQL files, named for when it was added and what it is about;
//! `SeaORM`'s migrator runs each in one transaction. It connects as the owner of the database;
//! the processes never do.

use sea_orm_migration::prelude::*;

pub mod feed;

pub use sea_orm_migration::sea_orm;

/// All migrations, oldest first.
#[derive(Debug)]
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        /// A migration, by its folder and the files that are run for it in this order.
        macro_rules! migration {
            ($name:literal) => {
                migration!($name, up: ["up"], down: ["down"])
            };
            ($name:literal, up: [$($up:literal),+], down: [$($down:literal),+]) => {
                Box::new(Script {
                    name: $name,
                    up: &[$(include_str!(concat!($name, "/", $up, ".sql"))),+],
                    down: &[$(include_str!(concat!($name, "/", $down, ".sql"))),+],
                })
            };
        }
        vec![
            migration!(
                "m20261123_000001_foundation",
                up: ["roles.up", "schema.up", "policies.up"],
                down: ["schema.down", "roles.down"]
            ),
            migration!("m20261124_000002_dead_jobs"),
            migration!("m20261125_000003_providers"),
            migration!("m20261126_000004_completeness"),
            migration!("m20261126_000005_backlog"),
            migration!("m20261126_000006_lines"),
            migration!("m20261126_000007_retention"),
            migration!("m20261126_000008_key_owner"),
        ]
    }
}

struct Script {
    name: &'static str,
    up: &'static [&'static str],
    down: &'static [&'static str],
}

impl MigrationName for Script {
    fn name(&self) -> &str {
        self.name
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Script {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run(self.up, manager).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run(self.down, manager).await
    }
}

async fn run(scripts: &[&str], manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    for script in scripts {
        manager.get_connection().execute_unprepared(script).await?;
    }
    Ok(())
}
