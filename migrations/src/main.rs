//! `migrations`: brings a database to the schema this release needs.

use anyhow::Context;
use clap::{Parser, Subcommand};
use migrations::Migrator;
use sea_orm_migration::MigratorTrait;
use sea_orm_migration::sea_orm::{ConnectOptions, Database};

/// Applies and reverts schema migrations. Connects as the owner of the database.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Owner's connection URL.
    #[arg(long, env = "POBLYSH_DATABASE_URL", hide_env_values = true)]
    database_url: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Apply every pending migration; safe to run again.
    Up,
    /// Revert the newest migration, with all data it holds.
    Down {
        /// Confirm that data may be lost.
        #[arg(long)]
        yes: bool,
    },
    /// List migrations and whether they are applied.
    Status,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    dotenvy::dotenv().ok();
    tracing_subscriber::fmt()
        .with_target(false)
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    let mut options = ConnectOptions::new(arguments.database_url);
    options.max_connections(1).sqlx_logging(false);
    let database = Database::connect(options)
        .await
        .context("cannot connect to the database named by POBLYSH_DATABASE_URL")?;
    match arguments.command {
        Command::Up => Migrator::up(&database, None).await?,
        Command::Down { yes } => {
            anyhow::ensure!(yes, "`down` deletes data; add --yes to confirm");
            Migrator::down(&database, Some(1)).await?;
        }
        Command::Status => Migrator::status(&database).await?,
    }
    Ok(())
}
