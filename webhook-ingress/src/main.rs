//! The `webhook-ingress` process.

use anyhow::Context;
use clap::Parser;
use shared::config::{Env, SETTINGS_HELP};
use tokio::net::TcpListener;
use webhook_ingress::Config;

/// Receives webhook deliveries: verifies them and queues them for the sync-worker.
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
    let telemetry = shared::telemetry::init("webhook-ingress", &env)?;
    let address = config.ingress.bind_addr;
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("failed to listen on {address} (POBLYSH_INGRESS_BIND_ADDR)"))?;
    tracing::info!(server.address = %address, "listening for deliveries");
    let lifecycle = webhook_ingress::start(config, listener, telemetry.metrics())?;
    let result = lifecycle.run().await;
    telemetry.shutdown().await;
    result?;
    Ok(())
}
