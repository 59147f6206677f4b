//! The `webhook-ingress` process.

use std::process::ExitCode;

use clap::Parser;
use shared::config::SETTINGS_HELP;
use shared::service;
use webhook_ingress::Config;

/// Receives webhook deliveries: verifies them and queues them for the sync-worker.
#[derive(Debug, Parser)]
#[command(version, after_help = SETTINGS_HELP)]
struct Arguments {}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let Arguments {} = Arguments::parse();
    Ok(service::run(Config::from_env, webhook_ingress::start).await?)
}
