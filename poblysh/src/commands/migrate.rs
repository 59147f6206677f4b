//! `poblysh migrate`: the migrations, by the same operations as the program `migrations`.

use anyhow::Context;
use clap::{Args, Subcommand};
use migrations::commands::{self, MigrationState};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::output::Output;
use crate::table::Column;

const COLUMNS: &[Column] = &[
    Column::text("MIGRATION", "/name"),
    Column::text("STATE", "/state"),
];

/// Arguments of `migrate`.
#[derive(Args)]
pub(crate) struct MigrateArguments {
    /// The URL of the database, with its owner as the user.
    #[arg(
        long,
        global = true,
        env = "POBLYSH_DATABASE_URL",
        hide_env_values = true
    )]
    database_url: Option<SecretString>,
    #[command(subcommand)]
    command: MigrateCommand,
}

/// A subcommand of `migrate`.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum MigrateCommand {
    /// Apply all pending migrations; safe to repeat.
    Up,
    /// List migrations and whether they are applied.
    Status,
}

/// Runs a subcommand.
pub(crate) async fn run(arguments: MigrateArguments, output: Output) -> anyhow::Result<()> {
    let url = arguments.database_url;
    let url = url.context("no database: set POBLYSH_DATABASE_URL or --database-url")?;
    let database = commands::connect(url.expose_secret().to_owned())
        .await
        .context("failed to connect to the database of POBLYSH_DATABASE_URL")?;
    let before = commands::list(&database).await?;
    match arguments.command {
        MigrateCommand::Status => show(&before, output),
        MigrateCommand::Up => {
            let pending: Vec<&MigrationState> =
                before.iter().filter(|one| !one.is_applied).collect();
            for one in &pending {
                output.note(&format!("Applying {}", one.name))?;
            }
            let is_restored = commands::apply(&database).await?;
            if is_restored {
                output.note(
                    "The database was restored into another cluster: a new generation of the feed \
                     began, and all readers start over.",
                )?;
            }
            let applied: Vec<&str> = pending.iter().map(|one| one.name.as_str()).collect();
            let value = json!({ "applied": applied, "feed_renewed": is_restored });
            let sentence = match applied.len() {
                0 => "The schema is up to date.".to_owned(),
                count => format!("{count} migrations applied."),
            };
            Ok(output.done(&value, &sentence)?)
        }
    }
}

fn show(states: &[MigrationState], output: Output) -> anyhow::Result<()> {
    let rows: Vec<Value> = states
        .iter()
        .map(|one| json!({ "name": one.name, "state": state(one) }))
        .collect();
    if output.is_json() {
        return Ok(output.json(&json!({ "migrations": rows }))?);
    }
    Ok(output.table(COLUMNS, &rows)?)
}

const fn state(one: &MigrationState) -> &'static str {
    match (one.is_applied, one.is_known) {
        (true, true) => "applied",
        (true, false) => "of a newer release",
        (false, _) => "pending",
    }
}
