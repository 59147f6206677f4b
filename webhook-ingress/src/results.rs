//! Counts the results of webhook requests: as a metric, and per hour in Postgres.
//!
//! Health and the overview read the stored counts. A request adds to a count in memory, and all
//! counts are stored together every two seconds, so that rejected requests cause no writes of their
//! own. Those of the last seconds before a shutdown are lost.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics::counter;
use shared::db::Db;
use shared::db::webhook_results::{self, ResultCount};
use shared::model::ConnectionId;
use shared::service::Lifecycle;
use shared::telemetry::names;

/// The time between two stores.
const INTERVAL: Duration = Duration::from_secs(2);

/// Provider, connection whose own URL rejected the request, and result.
type Key = (&'static str, Option<ConnectionId>, &'static str);

/// The counts that are not stored yet.
#[derive(Debug, Default)]
pub(crate) struct Results(Mutex<BTreeMap<Key, i64>>);

impl Results {
    /// Starts to store the counts.
    pub(crate) fn start(db: Db, lifecycle: &Lifecycle) -> Arc<Self> {
        let results = Arc::new(Self::default());
        let (stored, draining) = (Arc::clone(&results), lifecycle.draining().clone());
        lifecycle.supervise("webhook results", async move {
            loop {
                let is_draining = tokio::select! {
                    () = draining.cancelled() => true,
                    () = tokio::time::sleep(INTERVAL) => false,
                };
                stored.store(&db).await;
                if is_draining {
                    return;
                }
            }
        });
        results
    }

    /// Counts a result.
    ///
    /// `connection` is the connection of the URL; only a rejection by its own secret is attributed
    /// to it, so that requests with guessed ids leave no rows.
    pub(crate) fn count(
        &self,
        provider: &'static str,
        connection: Option<ConnectionId>,
        result: &'static str,
    ) {
        counter!(names::WEBHOOK_DELIVERIES_TOTAL, "provider" => provider, "result" => result)
            .increment(1);
        let own = connection.filter(|_| is_rejected_by_secret(result));
        *self.lock().entry((provider, own, result)).or_default() += 1;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Key, i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores all counts; they are kept if that fails.
    async fn store(&self, db: &Db) {
        let taken = std::mem::take(&mut *self.lock());
        let counts: Vec<ResultCount> = taken
            .iter()
            .map(|((provider, connection, result), requests)| ResultCount {
                provider,
                connection: *connection,
                result,
                requests: *requests,
            })
            .collect();
        if let Err(error) = webhook_results::add(db, &counts).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "failed to store the results of webhook requests"
            );
            let mut kept = self.lock();
            for (key, requests) in taken {
                *kept.entry(key).or_default() += requests;
            }
        }
    }
}

/// Whether a known connection's secret did not verify the request.
fn is_rejected_by_secret(result: &str) -> bool {
    matches!(result, "mismatch" | "stale" | "not_configured")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rejections_by_secret_name_the_connection() {
        let results = Results::default();
        let own = Some(ConnectionId::generate());
        for result in ["unknown_connection", "missing_header", "accepted"] {
            results.count("github", own, result);
        }
        assert!(results.lock().keys().all(|(_, own, _)| own.is_none()));
        results.count("github", own, "mismatch");
        results.count("github", own, "mismatch");
        assert_eq!(results.lock()[&("github", own, "mismatch")], 2);
    }
}
