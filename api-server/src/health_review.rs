//! The review of connections' health that workers have left undone.
//!
//! Workers review the health of connections when time may have changed it. If they are too late,
//! for instance because none runs, the api-server does it, so that lists show connections that are
//! no longer read.

use std::sync::Arc;
use std::time::Duration;

use shared::db::connections::{self, Reviewer};

use crate::state::AppState;

/// The time between two reviews.
const INTERVAL: Duration = Duration::from_secs(10);

/// Reviews connections until the process ends.
pub(crate) async fn run(state: Arc<AppState>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        if let Err(error) = connections::review_health(&state.db, Reviewer::Api).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "failed to review the health of connections"
            );
        }
    }
}
