//! `migrations`: brings a database to the schema this release needs.

use anyhow::Context;
use clap::{Parser, Subcommand};
use migrations::{Migrator, commands, feed};
use sea_orm_migration::MigratorTrait;

/// Apply and revert schema migrations as the owner of the database.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The URL of the database, with its owner as the user.
    #[arg(long, env = "POBLYSH_DATABASE_URL", hide_env_values = true)]
    database_url: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Apply all pending migrations; safe to repeat. In a database that was restored into another
    /// cluster it also begins a new generation of the feed.
    Up,
    /// Revert the newest migration and delete its data.
    Down {
        /// Confirm the loss of data.
        #[arg(long)]
        yes: bool,
    },
    /// Begin a new generation of the feed, so that all readers start over. Required after a
    /// point-in-time recovery, which `up` cannot detect.
    RenewFeed {
        /// Confirm that all readers of the feed start over.
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
    let database = commands::connect(arguments.database_url)
        .await
        .context("failed to connect to the database of POBLYSH_DATABASE_URL")?;
    match arguments.command {
        Command::Up => {
            if commands::apply(&database).await? {
                tracing::warn!(
                    "database was restored into another cluster, began a new generation of the feed; \
                     all readers start over"
                );
            }
        }
        Command::Down { yes } => {
            anyhow::ensure!(yes, "`down` deletes data; add --yes to confirm");
            Migrator::down(&database, Some(1)).await?;
        }
        Command::RenewFeed { yes } => {
            anyhow::ensure!(
                yes,
                "`renew-feed` makes all readers of the feed start over; add --yes to confirm"
            );
            feed::renew(&database).await?;
        }
        Command::Status => Migrator::status(&database).await?,
    }
    Ok(())
}
