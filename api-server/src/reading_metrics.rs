//! Gauges of how far the connections of all tenants are read.
//!
//! Every api-server exports them: `max`, not `sum`, combines the instances.

use std::sync::Arc;
use std::time::Duration;

use metrics::gauge;
use shared::db::reading::{self, ReadingState};
use shared::telemetry::names;

use crate::state::AppState;

/// The interval of the measurement.
const INTERVAL: Duration = Duration::from_secs(30);
/// The interval while the database is unavailable.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// Measures the reads until the process ends.
pub(crate) async fn run(state: Arc<AppState>) {
    loop {
        let pause = match reading::measure(&state.db).await {
            Ok(measured) => {
                record(&state, &measured);
                INTERVAL
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "failed to measure how far connections are read"
                );
                RETRY_INTERVAL
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Sets the gauges of every provider; one without a connection has nothing to read.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn record(state: &AppState, measured: &[ReadingState]) {
    for (descriptor, _) in state.registry.iter() {
        let provider = descriptor.slug;
        let own = measured.iter().find(|own| own.provider == provider);
        let (age, backfills, progress, denied) = own.map_or((0.0, 0, 1.0, 0), |own| {
            (
                own.last_sync_age_seconds,
                own.backfills,
                own.backfill_progress,
                own.streams_denied,
            )
        });
        gauge!(names::LAST_SYNC_AGE_SECONDS, "provider" => provider).set(age);
        gauge!(names::BACKFILLS, "provider" => provider).set(backfills as f64);
        gauge!(names::BACKFILL_PROGRESS_RATIO, "provider" => provider).set(progress);
        gauge!(names::STREAMS_DENIED, "provider" => provider).set(denied as f64);
    }
}
