//! The worker's heartbeat, which keeps its leases valid.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use shared::db::DbError;
use shared::service::Lifecycle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::context::Context;

const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(3);
/// A heartbeat that takes longer is sent again in another session.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(2);

/// Sends heartbeats until all leases are released.
pub(crate) async fn run(context: Arc<Context>, lifecycle: Lifecycle) {
    let mut ticks = interval(HEARTBEAT_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // The leases stay valid while jobs drain.
            () = context.drained.cancelled() => return,
            () = lifecycle.aborted().cancelled() => return,
            _ = ticks.tick() => {}
        }
        match timeout(HEARTBEAT_TIMEOUT, send(&context)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "failed to send the heartbeat");
                ticks.reset_after(HEARTBEAT_INTERVAL / 3);
            }
            Err(_) => {
                tracing::warn!("heartbeat timed out");
                ticks.reset_immediately();
            }
        }
    }
}

async fn send(context: &Context) -> Result<(), DbError> {
    let began = Instant::now();
    let now = context.queue.heartbeat(context.worker).await?;
    let latency = TimeDelta::from_std(began.elapsed() / 2).unwrap_or_default();
    context.database_clock.set(now + latency);
    context.lease_clock.extend(began);
    Ok(())
}
