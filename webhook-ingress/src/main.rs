//! The `webhook-ingress` process.

use anyhow::Context;
use shared::config::Env;
use tokio::net::TcpListener;
use webhook_ingress::Config;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let env = Env::from_process()?;
    let config = Config::from_env(&env)?;
    let telemetry = shared::telemetry::init("webhook-ingress", &env)?;
    let address = config.ingress.bind_addr;
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address} (POBLYSH_INGRESS_BIND_ADDR)"))?;
    tracing::info!(server.address = %address, "taking deliveries");
    let life = webhook_ingress::start(config, listener, telemetry.metrics())?;
    life.run().await;
    telemetry.shutdown().await;
    Ok(())
}
