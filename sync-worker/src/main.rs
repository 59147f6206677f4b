//! The `sync-worker` process.

use std::process::ExitCode;

use clap::Parser;
use shared::config::SETTINGS_HELP;
use shared::service;
use sync_worker::Config;

/// Runs jobs: syncs connections, processes deliveries, refreshes tokens and subscriptions.
#[derive(Debug, Parser)]
#[command(version, after_help = SETTINGS_HELP)]
struct Arguments {}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let Arguments {} = Arguments::parse();
    Ok(service::run(Config::from_env, sync_worker::start).await?)
}
