//! The schema, the three runtime roles and the row-level security policies.
//!
//! A migration is a folder of SQL files, named after its date and subject. It connects as the owner
//! of the database, which the processes never do. `docs/migrations.md` lists the changes that are
//! safe while the previous release runs.

use sea_orm_migration::prelude::*;

pub mod commands;
pub mod feed;
mod script;

pub use script::{Script, up};
pub use sea_orm_migration::sea_orm;

/// All migrations, oldest first.
#[derive(Debug)]
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        /// A migration: its folder, and its files in the order of execution.
        macro_rules! migration {
            ($name:literal, up: [$($up:literal),+ $(,)?], down: [$($down:literal),+ $(,)?]) => {
                Box::new(Script {
                    name: $name,
                    up: &[$(include_str!(concat!($name, "/", $up, ".sql"))),+],
                    down: &[$(include_str!(concat!($name, "/", $down, ".sql"))),+],
                    transaction: true,
                })
            };
        }
        vec![migration!(
            "m20261130_000001_foundation",
            up: [
                "roles",
                "tenants",
                "operators",
                "connections",
                "credentials",
                "webhook_keys",
                "streams",
                "events",
                "deliveries",
                "jobs",
                "signals",
                "rate_limits",
                "partitions",
                "policies",
                "privileges",
            ],
            down: ["down"]
        )]
    }
}
