//! `migrations`: brings a database to the schema this release needs.

use anyhow::Context;
use clap::{Parser, Subcommand};
use migrations::{Migrator, feed};
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
    /// Apply every pending migration; safe to run again. In a database that was restored into
    /// another cluster it also begins a new generation of the feed.
    Up,
    /// Revert the newest migration, with all data it holds.
    Down {
        /// Confirm that data may be lost.
        #[arg(long)]
        yes: bool,
    },
    /// Begin a new generation of the feed: readers start over. Needed after a point-in-time
    /// recovery, which `up` cannot tell from a restart.
    RenewFeed {
        /// Confirm that every reader will be sent back to the beginning.
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
        Command::Up => {
            migrations::up::<Migrator>(&database).await?;
            if feed::renew_after_restore(&database).await? {
                tracing::warn!(
                    "the database was restored into another cluster: a new generation of the feed \
                     began, and its readers start over"
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
                "`renew-feed` sends every reader of the feed back to its beginning; add --yes to confirm"
            );
            feed::renew(&database).await?;
        }
        Command::Status => Migrator::status(&database).await?,
    }
    Ok(())
}
