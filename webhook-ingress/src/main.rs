//! The `webhook-ingress` process.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use shared::config::{Process, SETTINGS_HELP};
use shared::service;
use webhook_ingress::Config;

/// Receives webhook deliveries: verifies them and queues them for the sync-worker.
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
        None => Ok(service::run(Config::from_env, webhook_ingress::start).await?),
        Some(Command::Health) => {
            service::probe(Process::Ingress).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
