//! The gauges of the database pool.

use std::time::Duration;

use metrics::gauge;

use crate::db::Db;
use crate::telemetry::names;

/// The interval of the measurement, shorter than that of common scrapes.
const INTERVAL: Duration = Duration::from_secs(5);

/// Measures the pool until the process ends.
pub(super) async fn run(db: Db, process: &'static str) {
    loop {
        let usage = db.pool_usage();
        let sessions = |state: &'static str, count: u32| {
            gauge!(names::DB_SESSIONS, "process" => process, "state" => state).set(count);
        };
        sessions("idle", usage.idle);
        sessions("in_use", usage.in_use);
        gauge!(names::DB_SESSIONS_MAX, "process" => process).set(usage.max);
        tokio::time::sleep(INTERVAL).await;
    }
}
