//! The names, descriptions and buckets of all metrics.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// HTTP requests: `process, route, method, status`.
pub const HTTP_REQUESTS_TOTAL: &str = "poblysh_http_requests_total";
/// Seconds from a request's head to the response's head: `process, route, method, status`.
pub const HTTP_REQUEST_DURATION_SECONDS: &str = "poblysh_http_request_duration_seconds";
/// Webhook deliveries received: `provider, result`.
pub const WEBHOOK_DELIVERIES_TOTAL: &str = "poblysh_webhook_deliveries_total";
/// Deliveries per transaction.
pub const INGRESS_BATCH_SIZE: &str = "poblysh_ingress_batch_size";
/// Batch commits that were retried.
pub const INBOX_RETRIES_TOTAL: &str = "poblysh_inbox_retries_total";
/// Bytes of deliveries that wait to be processed.
pub const INGRESS_BACKLOG_BYTES: &str = "poblysh_ingress_backlog_bytes";
/// Jobs finished: `kind, outcome`.
pub const JOBS_TOTAL: &str = "poblysh_jobs_total";
/// Jobs that panicked: `kind`.
pub const JOB_PANICS_TOTAL: &str = "poblysh_job_panics_total";
/// Seconds that a job ran: `kind`.
pub const JOB_DURATION_SECONDS: &str = "poblysh_job_duration_seconds";
/// Jobs in the queue: `kind, state`.
pub const QUEUE_DEPTH: &str = "poblysh_queue_depth";
/// Seconds since the oldest runnable job became runnable: `kind`.
pub const QUEUE_OLDEST_AGE_SECONDS: &str = "poblysh_queue_oldest_age_seconds";
/// Signals stored: `source, kind`.
pub const SIGNALS_TOTAL: &str = "poblysh_signals_total";
/// Seconds between now and the end of the feed.
pub const FEED_WATERMARK_LAG_SECONDS: &str = "poblysh_feed_watermark_lag_seconds";
/// Seconds until the next subscription of a provider expires: `provider`.
pub const SUBSCRIPTION_EXPIRY_SECONDS: &str = "poblysh_subscription_expiry_seconds";
/// Seconds before a subscription's expiry at which a missing renewal is a problem: `provider`.
pub const SUBSCRIPTION_ALERT_SECONDS: &str = "poblysh_subscription_alert_seconds";
/// Connections of all tenants: `provider, health`.
pub const CONNECTIONS: &str = "poblysh_connections";
/// Desired subscriptions that do not exist: `provider`.
pub const SUBSCRIPTIONS_PENDING: &str = "poblysh_subscriptions_pending";
/// Token refreshes whose response was lost: `provider`.
pub const TOKEN_REFRESH_LOST_RESPONSES_TOTAL: &str = "poblysh_token_refresh_lost_responses_total";
/// Calls to token endpoints: `provider, outcome`.
pub const TOKEN_REFRESHES_TOTAL: &str = "poblysh_token_refreshes_total";
/// Sealed values under another key than the current one: `kind, key`.
///
/// `key` is `previous` (resealed since) or `unknown`.
pub const SEALED_VALUES: &str = "poblysh_sealed_values";
/// Time slices of syncs without progress: `provider, reason`.
pub const SYNC_STALLED_TOTAL: &str = "poblysh_sync_stalled_total";
/// Facts that a poll found and no delivery had reported: `provider`.
pub const WEBHOOK_MISSED_TOTAL: &str = "poblysh_webhook_missed_total";
/// Unreadable rows of lists, each counted once: `provider, stream_type`.
pub const ROWS_UNREADABLE_TOTAL: &str = "poblysh_rows_unreadable_total";
/// Calls that the rate limiter delayed: `provider, outcome` (`waited` or `rejected`).
pub const RATE_LIMIT_WAITS_TOTAL: &str = "poblysh_rate_limit_waits_total";
/// Seconds that a call waited in the rate limiter: `provider`.
pub const RATE_LIMIT_WAIT_SECONDS: &str = "poblysh_rate_limit_wait_seconds";
/// Seconds that calls to providers take: `provider, operation, status`.
///
/// `status` is a status code or the kind of error.
pub const PROVIDER_REQUEST_DURATION_SECONDS: &str = "poblysh_provider_request_duration_seconds";

/// Buckets of durations within a data centre, in seconds.
const LOCAL_DURATIONS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Buckets of durations that depend on providers, in seconds.
const REMOTE_DURATIONS: &[f64] = &[
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];
/// Buckets of counts.
const COUNTS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0];

/// Every histogram with its buckets.
pub(super) const BUCKETS: &[(&str, &[f64])] = &[
    (HTTP_REQUEST_DURATION_SECONDS, LOCAL_DURATIONS),
    (INGRESS_BATCH_SIZE, COUNTS),
    (JOB_DURATION_SECONDS, REMOTE_DURATIONS),
    (RATE_LIMIT_WAIT_SECONDS, REMOTE_DURATIONS),
    (PROVIDER_REQUEST_DURATION_SECONDS, REMOTE_DURATIONS),
];

/// Registers the description of each metric.
pub fn describe_all() {
    for (name, text) in [
        (
            HTTP_REQUESTS_TOTAL,
            "HTTP requests, by process, route, method and status",
        ),
        (
            WEBHOOK_DELIVERIES_TOTAL,
            "Webhook deliveries received, by provider and result",
        ),
        (INBOX_RETRIES_TOTAL, "Batch commits that were retried"),
        (JOBS_TOTAL, "Jobs finished, by kind and outcome"),
        (JOB_PANICS_TOTAL, "Jobs that panicked, by kind"),
        (SIGNALS_TOTAL, "Signals stored, by source and kind"),
        (
            TOKEN_REFRESHES_TOTAL,
            "Calls to token endpoints, by provider and outcome",
        ),
        (
            TOKEN_REFRESH_LOST_RESPONSES_TOTAL,
            "Token refreshes whose response was lost, by provider",
        ),
        (
            SYNC_STALLED_TOTAL,
            "Time slices of syncs without progress, by provider and reason",
        ),
        (
            WEBHOOK_MISSED_TOTAL,
            "Facts that a poll found and no delivery had reported, by provider",
        ),
        (
            ROWS_UNREADABLE_TOTAL,
            "Unreadable rows of lists, by provider and type of stream",
        ),
        (
            RATE_LIMIT_WAITS_TOTAL,
            "Calls that the rate limiter delayed, by provider and outcome",
        ),
    ] {
        describe_counter!(name, Unit::Count, text);
    }
    for (name, text) in [
        (
            HTTP_REQUEST_DURATION_SECONDS,
            "Time from a request to its response, by process, route, method and status",
        ),
        (JOB_DURATION_SECONDS, "Time that a job ran, by kind"),
        (
            RATE_LIMIT_WAIT_SECONDS,
            "Time that a call waited in the rate limiter, by provider",
        ),
        (
            PROVIDER_REQUEST_DURATION_SECONDS,
            "Time that calls to providers take, by provider, operation and status",
        ),
    ] {
        describe_histogram!(name, Unit::Seconds, text);
    }
    describe_histogram!(
        INGRESS_BATCH_SIZE,
        Unit::Count,
        "Deliveries per transaction"
    );
    describe_gauges();
}

fn describe_gauges() {
    describe_gauge!(
        INGRESS_BACKLOG_BYTES,
        Unit::Bytes,
        "Bytes of deliveries that wait to be processed"
    );
    for (name, text) in [
        (
            CONNECTIONS,
            "Connections of all tenants, by provider and health",
        ),
        (
            SUBSCRIPTIONS_PENDING,
            "Desired subscriptions that do not exist, by provider",
        ),
        (
            SEALED_VALUES,
            "Sealed values under another key than the current one, by kind and key",
        ),
        (QUEUE_DEPTH, "Jobs in the queue, by kind and state"),
    ] {
        describe_gauge!(name, Unit::Count, text);
    }
    for (name, text) in [
        (
            QUEUE_OLDEST_AGE_SECONDS,
            "Age of the oldest runnable job, by kind",
        ),
        (
            FEED_WATERMARK_LAG_SECONDS,
            "Time between now and the end of the feed",
        ),
        (
            SUBSCRIPTION_EXPIRY_SECONDS,
            "Time until the next subscription expires, by provider",
        ),
        (
            SUBSCRIPTION_ALERT_SECONDS,
            "Time before a subscription's expiry at which it must have been renewed, by provider",
        ),
    ] {
        describe_gauge!(name, Unit::Seconds, text);
    }
}

#[cfg(test)]
mod tests {
    /// The names that are declared above.
    fn names() -> impl Iterator<Item = &'static str> {
        include_str!("names.rs")
            .lines()
            .filter(|line| line.starts_with("pub const "))
            .filter_map(|line| line.split('"').nth(1))
    }

    #[test]
    fn operations_guide_has_a_row_per_metric() {
        let rows: Vec<&str> = include_str!("../../../docs/operations.md")
            .lines()
            .filter_map(|line| line.strip_prefix("| `"))
            .filter_map(|row| row.split(['`', '{']).next())
            .collect();
        assert!(names().count() > 20);
        for name in names() {
            assert!(
                rows.contains(&name),
                "docs/operations.md has no row for {name}"
            );
        }
        let is_known =
            |row: &&str| !row.starts_with("poblysh_") || names().any(|name| name == *row);
        assert!(rows.iter().all(is_known), "{rows:?}");
    }
    const RULES: &str = include_str!("../../../deploy/prometheus/rules.yml");

    #[test]
    fn alerts_use_existing_metrics() {
        let expressions = RULES.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
        let used: Vec<&str> = expressions
            .filter(|word| word.starts_with("poblysh_"))
            .collect();
        assert!(used.len() > 20);
        for name in used {
            assert!(names().any(|known| known == name), "no metric {name}");
        }
    }

    #[test]
    fn operations_guide_has_a_row_per_alert() {
        let alerts = |text: &'static str, mark: &'static str| -> Vec<&str> {
            let lines = text.lines().map(str::trim);
            let rest = lines.filter_map(|line| line.strip_prefix(mark));
            rest.filter_map(|rest| rest.split(['`', '\n']).next())
                .collect()
        };
        let guide = include_str!("../../../docs/operations.md");
        let rules = alerts(RULES, "- alert: ");
        assert!(rules.len() > 10);
        assert_eq!(alerts(guide, "| `Poblysh").len(), rules.len());
        for alert in rules {
            let row = format!("| `{alert}` |");
            assert!(guide.contains(&row), "docs/operations.md lacks {row}");
        }
    }
}
