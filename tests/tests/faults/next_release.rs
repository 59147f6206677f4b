//! Migrations of a hypothetical next release: every change that `docs/migrations.md` allows.

use migrations::{Migrator, Script};
use sea_orm_migration::{MigrationTrait, MigratorTrait};

/// This build's migrations, followed by those of the next release.
#[derive(Debug)]
pub(super) struct NextRelease;

/// The number of migrations that the next release adds.
pub(super) const ADDED: usize = 6;

impl MigratorTrait for NextRelease {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        let added: [Script; ADDED] = [
            transaction(
                "m29991231_000001_jobs",
                &[include_str!("next_release/jobs.sql")],
            ),
            transaction(
                "m29991231_000002_deliveries",
                &[include_str!("next_release/deliveries.sql")],
            ),
            transaction(
                "m29991231_000003_signals",
                &[include_str!("next_release/signals.sql")],
            ),
            transaction(
                "m29991231_000004_validate",
                &[include_str!("next_release/validate.sql")],
            ),
            transaction(
                "m29991231_000005_table",
                &[include_str!("next_release/table.sql")],
            ),
            Script {
                transaction: false,
                ..transaction(
                    "m29991231_000006_index",
                    &[
                        include_str!("next_release/index_drop.sql"),
                        include_str!("next_release/index_create.sql"),
                    ],
                )
            },
        ];
        let mut migrations = Migrator::migrations();
        for script in added {
            migrations.push(Box::new(script));
        }
        migrations
    }
}

const fn transaction(name: &'static str, up: &'static [&'static str]) -> Script {
    Script {
        name,
        up,
        down: &[],
        transaction: true,
    }
}
