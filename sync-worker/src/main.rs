//! The `sync-worker` process.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use shared::config::{Process, SETTINGS_HELP};
use shared::service;
use sync_worker::Config;

/// Runs jobs: syncs connections, processes deliveries, refreshes tokens and subscriptions.
#[derive(Debug, Parser)]
#[command(version, after_help = SETTINGS_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Asks the running process on this host whether it is ready; the status is 1 if it is not.
    Health,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().command {
        None => Ok(service::run(Config::from_env, sync_worker::start).await?),
        Some(Command::Health) => {
            service::probe(Process::Worker).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
