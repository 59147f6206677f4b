//! Tells open streams when the feed may have grown.
//!
//! A Signal can be read once no transaction older than its own is running, and that border
//! is one number for all tenants. One task watches it while anybody listens, so a thousand
//! streams cost one small statement, and each reads the feed only when it may have moved.

use std::time::Duration;

use shared::signals::Feed;
use shared::telemetry::Lifecycle;
use tokio::sync::watch;

/// How often the border is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Where streams wait.
#[derive(Debug)]
pub(crate) struct News {
    border: watch::Sender<u64>,
}

impl News {
    /// Watches this feed until the process takes nothing more.
    pub(crate) fn start(feed: Feed, lifecycle: &Lifecycle) -> Self {
        let (border, _) = watch::channel(0);
        let sender = border.clone();
        let stop = lifecycle.soft().clone();
        lifecycle.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = look(&feed, &sender) => {}
            }
        });
        Self { border }
    }

    /// Changes whenever the feed may have grown.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.border.subscribe()
    }
}

async fn look(feed: &Feed, border: &watch::Sender<u64>) {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if border.receiver_count() == 0 {
            continue;
        }
        match feed.border().await {
            Ok(seen) => {
                border.send_if_modified(|known| {
                    let moved = *known != seen;
                    *known = seen;
                    moved
                });
            }
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "the border is unseen"
                );
            }
        }
    }
}
