//! The names, descriptions and buckets of all metrics.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// The release of a process, with the value 1: `process, version`.
pub const BUILD_INFO: &str = "poblysh_build_info";
/// Seconds from a request's head to the response's head: `process, http_request_method, url_scheme,
/// http_route, http_response_status_code, error_type`.
///
/// The name and the labels are OpenTelemetry's; `error_type` is the status of a server error.
pub const HTTP_SERVER_REQUEST_DURATION_SECONDS: &str = "http_server_request_duration_seconds";
/// Requests whose response has not begun: `process, http_request_method, url_scheme`.
pub const HTTP_SERVER_ACTIVE_REQUESTS: &str = "http_server_active_requests";
/// Sessions of the pool: `process, state` (`idle` or `in_use`).
pub const DB_SESSIONS: &str = "poblysh_db_sessions";
/// The maximum number of sessions of the pool: `process`.
pub const DB_SESSIONS_MAX: &str = "poblysh_db_sessions_max";
/// Open streams of Signals (server-sent events).
pub const SSE_STREAMS: &str = "poblysh_sse_streams";
/// Streams whose read the provider denies: `provider`.
pub const STREAMS_DENIED: &str = "poblysh_streams_denied";
/// Seconds since the last sync of the active connection that waits longest: `provider`.
pub const LAST_SYNC_AGE_SECONDS: &str = "poblysh_last_sync_age_seconds";
/// Active connections whose backfill has not ended: `provider`.
pub const BACKFILLS: &str = "poblysh_backfills";
/// The least progress of these backfills, from 0 to 1; 1 without one: `provider`.
pub const BACKFILL_PROGRESS_RATIO: &str = "poblysh_backfill_progress_ratio";
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
/// Calls that the rate limiter delayed: `provider, outcome` (`waited` or `refused`).
pub const RATE_LIMIT_WAITS_TOTAL: &str = "poblysh_rate_limit_waits_total";
/// Seconds that a call waited in the rate limiter: `provider`.
pub const RATE_LIMIT_WAIT_SECONDS: &str = "poblysh_rate_limit_wait_seconds";
/// Seconds that calls to providers take: `provider, operation, status`.
///
/// `status` is a status code or the kind of error.
pub const PROVIDER_REQUEST_DURATION_SECONDS: &str = "poblysh_provider_request_duration_seconds";

/// Every metric with its labels.
pub const METRICS: &[(&str, &[&str])] = &[
    (BUILD_INFO, &["process", "version"]),
    (
        HTTP_SERVER_REQUEST_DURATION_SECONDS,
        &[
            "process",
            "http_request_method",
            "url_scheme",
            "http_route",
            "http_response_status_code",
            "error_type",
        ],
    ),
    (
        HTTP_SERVER_ACTIVE_REQUESTS,
        &["process", "http_request_method", "url_scheme"],
    ),
    (DB_SESSIONS, &["process", "state"]),
    (DB_SESSIONS_MAX, &["process"]),
    (SSE_STREAMS, &[]),
    (STREAMS_DENIED, &["provider"]),
    (LAST_SYNC_AGE_SECONDS, &["provider"]),
    (BACKFILLS, &["provider"]),
    (BACKFILL_PROGRESS_RATIO, &["provider"]),
    (WEBHOOK_DELIVERIES_TOTAL, &["provider", "result"]),
    (INGRESS_BATCH_SIZE, &[]),
    (INBOX_RETRIES_TOTAL, &[]),
    (INGRESS_BACKLOG_BYTES, &[]),
    (JOBS_TOTAL, &["kind", "outcome"]),
    (JOB_PANICS_TOTAL, &["kind"]),
    (JOB_DURATION_SECONDS, &["kind"]),
    (QUEUE_DEPTH, &["kind", "state"]),
    (QUEUE_OLDEST_AGE_SECONDS, &["kind"]),
    (SIGNALS_TOTAL, &["source", "kind"]),
    (FEED_WATERMARK_LAG_SECONDS, &[]),
    (SUBSCRIPTION_EXPIRY_SECONDS, &["provider"]),
    (SUBSCRIPTION_ALERT_SECONDS, &["provider"]),
    (SUBSCRIPTIONS_PENDING, &["provider"]),
    (TOKEN_REFRESH_LOST_RESPONSES_TOTAL, &["provider"]),
    (TOKEN_REFRESHES_TOTAL, &["provider", "outcome"]),
    (SEALED_VALUES, &["kind", "key"]),
    (SYNC_STALLED_TOTAL, &["provider", "reason"]),
    (WEBHOOK_MISSED_TOTAL, &["provider"]),
    (ROWS_UNREADABLE_TOTAL, &["provider", "stream_type"]),
    (RATE_LIMIT_WAITS_TOTAL, &["provider", "outcome"]),
    (RATE_LIMIT_WAIT_SECONDS, &["provider"]),
    (
        PROVIDER_REQUEST_DURATION_SECONDS,
        &["provider", "operation", "status"],
    ),
];

/// Buckets of the durations of HTTP requests, in seconds, as the conventions advise.
const HTTP_DURATIONS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];
/// Buckets of durations that depend on providers, in seconds.
const REMOTE_DURATIONS: &[f64] = &[
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];
/// Buckets of counts.
const COUNTS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0];

/// Every histogram with its buckets.
pub(super) const BUCKETS: &[(&str, &[f64])] = &[
    (HTTP_SERVER_REQUEST_DURATION_SECONDS, HTTP_DURATIONS),
    (INGRESS_BATCH_SIZE, COUNTS),
    (JOB_DURATION_SECONDS, REMOTE_DURATIONS),
    (RATE_LIMIT_WAIT_SECONDS, REMOTE_DURATIONS),
    (PROVIDER_REQUEST_DURATION_SECONDS, REMOTE_DURATIONS),
];

/// Registers the description of each metric.
pub fn describe_all() {
    for (name, text) in [
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
            HTTP_SERVER_REQUEST_DURATION_SECONDS,
            "Time from a request to its response, by process, method, route and status",
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
    describe_gauge!(
        INGRESS_BACKLOG_BYTES,
        Unit::Bytes,
        "Bytes of deliveries that wait to be processed"
    );
    for (name, text) in [
        (
            SUBSCRIPTIONS_PENDING,
            "Desired subscriptions that do not exist, by provider",
        ),
        (
            SEALED_VALUES,
            "Sealed values under another key than the current one, by kind and key",
        ),
        (QUEUE_DEPTH, "Jobs in the queue, by kind and state"),
        (BUILD_INFO, "The release of the process"),
        (
            HTTP_SERVER_ACTIVE_REQUESTS,
            "Requests whose response has not begun, by process and method",
        ),
        (
            DB_SESSIONS,
            "Sessions of the database pool, by process and state",
        ),
        (
            DB_SESSIONS_MAX,
            "The maximum number of sessions of the database pool, by process",
        ),
        (SSE_STREAMS, "Open streams of Signals"),
        (
            STREAMS_DENIED,
            "Streams whose read the provider denies, by provider",
        ),
        (
            BACKFILLS,
            "Active connections whose backfill has not ended, by provider",
        ),
        (
            BACKFILL_PROGRESS_RATIO,
            "The least progress of the backfills, by provider",
        ),
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
            LAST_SYNC_AGE_SECONDS,
            "Time since the last sync of the active connection that waits longest, by provider",
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
    fn table_has_every_metric() {
        let listed: Vec<&str> = super::METRICS.iter().map(|(name, _)| *name).collect();
        for name in names() {
            assert!(listed.contains(&name), "METRICS lacks {name}");
        }
        assert_eq!(listed.len(), names().count());
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
