//! The `sync-worker` process.

use anyhow::Context;
use clap::Parser;
use shared::config::{Env, SETTINGS_HELP};
use sync_worker::Config;
use tokio::net::TcpListener;

/// Runs jobs: syncs connections, processes deliveries, refreshes tokens and subscriptions.
#[derive(Debug, Parser)]
#[command(version, after_help = SETTINGS_HELP)]
struct Arguments {}

fn main() -> anyhow::Result<()> {
    let Arguments {} = Arguments::parse();
    run()
}

#[tokio::main]
async fn run() -> anyhow::Result<()> {
    let env = Env::from_process()?;
    let config = Config::from_env(&env)?;
    let telemetry = shared::telemetry::init("sync-worker", &env)?;
    let address = config.worker.bind_addr;
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("failed to listen on {address} (POBLYSH_WORKER_BIND_ADDR)"))?;
    tracing::info!(server.address = %address, "started");
    let lifecycle = sync_worker::start(config, listener, telemetry.metrics())?;
    let ended = lifecycle.run().await;
    telemetry.shutdown().await;
    ended?;
    Ok(())
}
