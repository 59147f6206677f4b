//! The `webhook-ingress` process.

use anyhow::Context;
use clap::Parser;
use shared::config::{Env, SETTINGS_HELP};
use tokio::net::TcpListener;
use webhook_ingress::Config;

/// Takes in the deliveries of providers: verifies them and queues them for the sync-worker.
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
        .with_context(|| format!("cannot listen on {address} (POBLYSH_INGRESS_BIND_ADDR)"))?;
    tracing::info!(server.address = %address, "taking deliveries");
    let life = webhook_ingress::start(config, listener, telemetry.metrics())?;
    let ended = life.run().await;
    telemetry.shutdown().await;
    ended?;
    Ok(())
}
