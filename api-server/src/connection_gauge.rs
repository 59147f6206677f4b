//! The gauge of connections by provider and health.
//!
//! The api-server measures it, because only its role may switch to the one that reads all tenants.

use std::sync::Arc;
use std::time::Duration;

use metrics::gauge;
use shared::db::overview::{self, ConnectionCount};
use shared::health::HealthState;
use shared::telemetry::names;
use strum::VariantArray;

use crate::state::AppState;

/// The time between two measurements.
const INTERVAL: Duration = Duration::from_secs(15);

/// Measures until the process ends.
pub(crate) async fn run(state: Arc<AppState>) {
    loop {
        match overview::measure_connections(&state.db).await {
            Ok(counts) => set(&state, &counts),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "failed to count the connections"
            ),
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Sets the gauge of every provider and state, so that a state without connections is 0.
fn set(state: &AppState, counts: &[ConnectionCount]) {
    for (provider, _) in state.registry.iter() {
        for health in HealthState::VARIANTS {
            let health = health.as_str();
            let count = counts
                .iter()
                .find(|count| count.provider == provider.slug && count.health == health);
            let connections = count.map_or(0, |count| count.connections);
            let value = u32::try_from(connections).map_or(f64::from(u32::MAX), f64::from);
            gauge!(names::CONNECTIONS, "provider" => provider.slug, "health" => health).set(value);
        }
    }
}
