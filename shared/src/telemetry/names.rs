//! The name of every metric, its description and its buckets.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Requests answered: `process, route, method, status`.
pub const HTTP_REQUESTS_TOTAL: &str = "http_requests_total";
/// Seconds from a request's head to its answer's: `process, route, method, status`.
pub const HTTP_REQUEST_DURATION_SECONDS: &str = "http_request_duration_seconds";
/// Webhook deliveries received: `provider, verdict`.
pub const WEBHOOK_DELIVERIES_TOTAL: &str = "webhook_deliveries_total";
/// Deliveries committed by one statement.
pub const INGRESS_BATCH_SIZE: &str = "ingress_batch_size";
/// Batches committed at the second try, over a new connection.
pub const INBOX_RETRIES_TOTAL: &str = "inbox_retries_total";
/// Bytes of deliveries that wait to be processed.
pub const INGRESS_BACKLOG_BYTES: &str = "ingress_backlog_bytes";
/// Jobs finished: `kind, outcome`.
pub const JOBS_TOTAL: &str = "jobs_total";
/// Panics caught while a job ran: `kind`.
pub const JOB_PANICS_TOTAL: &str = "poblysh_job_panics_total";
/// Seconds a job ran: `kind`.
pub const JOB_DURATION_SECONDS: &str = "job_duration_seconds";
/// Jobs in the queue: `kind, state`.
pub const QUEUE_DEPTH: &str = "queue_depth";
/// Seconds since the oldest runnable job became runnable: `kind`.
pub const QUEUE_OLDEST_AGE_SECONDS: &str = "queue_oldest_age_seconds";
/// Signals stored: `source, kind`.
pub const SIGNALS_TOTAL: &str = "signals_total";
/// Seconds the feed's end lies behind the present.
pub const FEED_WATERMARK_LAG_SECONDS: &str = "feed_watermark_lag_seconds";
/// Seconds until the first of a provider's subscriptions ends.
pub const SUBSCRIPTION_ENDS_IN_SECONDS: &str = "subscription_ends_in_seconds";
/// Subscriptions that are wanted and not held.
pub const SUBSCRIPTIONS_MISSING: &str = "subscriptions_missing";
/// Renewals of tokens whose answer was lost.
pub const TOKEN_ROTATIONS_LOST_TOTAL: &str = "token_rotations_lost_total";
/// Calls of a token endpoint: `provider, outcome`.
pub const TOKEN_REFRESHES_TOTAL: &str = "token_refreshes_total";
/// Sealed values that the last pass found under another key than the current one: `kind, key`
/// (`previous`, moved since, or `unknown`).
pub const SEALED_VALUES: &str = "poblysh_sealed_values";
/// Time slices of a sync that read nothing: `provider, reason`.
pub const SYNC_STALLED_TOTAL: &str = "poblysh_sync_stalled_total";
/// Facts that a read found and that no delivery had told: `provider`.
pub const WEBHOOK_MISSED_TOTAL: &str = "poblysh_webhook_missed_total";
/// Rows of lists that could not be read, each counted once: `provider, stream_type`.
pub const ROWS_UNREADABLE_TOTAL: &str = "poblysh_rows_unreadable_total";
/// Calls that the rate gate held up: `provider, outcome` (`waited` or `refused`).
pub const RATE_LIMIT_WAITS_TOTAL: &str = "rate_limit_waits_total";
/// Seconds a call waited at the rate gate before it went out: `provider`.
pub const RATE_LIMIT_WAIT_SECONDS: &str = "rate_limit_wait_seconds";
/// Seconds a provider took to answer: `provider, operation, status` (a status code, or the
/// kind of failure).
pub const PROVIDER_REQUEST_DURATION_SECONDS: &str = "provider_request_duration_seconds";

/// Buckets of durations within a machine or a data centre, in seconds.
const SHORT: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Buckets of durations that others determine, in seconds.
const LONG: &[f64] = &[
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];
/// Buckets of counts.
const COUNTS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0];

/// Every histogram with its buckets.
pub(super) const BUCKETS: &[(&str, &[f64])] = &[
    (HTTP_REQUEST_DURATION_SECONDS, SHORT),
    (INGRESS_BATCH_SIZE, COUNTS),
    (JOB_DURATION_SECONDS, LONG),
    (RATE_LIMIT_WAIT_SECONDS, LONG),
    (PROVIDER_REQUEST_DURATION_SECONDS, LONG),
];

/// Tells the recorder what each metric means.
pub fn describe_all() {
    for (name, text) in [
        (
            HTTP_REQUESTS_TOTAL,
            "Requests answered, by process, route, method and status",
        ),
        (
            WEBHOOK_DELIVERIES_TOTAL,
            "Webhook deliveries received, by provider and verdict",
        ),
        (
            INBOX_RETRIES_TOTAL,
            "Batches committed at the second try, over a new connection",
        ),
        (JOBS_TOTAL, "Jobs finished, by kind and outcome"),
        (JOB_PANICS_TOTAL, "Panics caught while a job ran, by kind"),
        (SIGNALS_TOTAL, "Signals stored, by source and kind"),
        (
            TOKEN_REFRESHES_TOTAL,
            "Calls of token endpoints, by provider and outcome",
        ),
        (
            TOKEN_ROTATIONS_LOST_TOTAL,
            "Renewals whose answer was lost, by provider",
        ),
        (
            SYNC_STALLED_TOTAL,
            "Time slices of a sync that read nothing, by provider and reason",
        ),
        (
            WEBHOOK_MISSED_TOTAL,
            "Facts that a read found and that no delivery had told, by provider",
        ),
        (
            ROWS_UNREADABLE_TOTAL,
            "Rows of lists that could not be read, by provider and type of stream",
        ),
        (
            RATE_LIMIT_WAITS_TOTAL,
            "Calls held up by the rate gate, by provider and outcome",
        ),
    ] {
        describe_counter!(name, Unit::Count, text);
    }
    for (name, text) in [
        (
            HTTP_REQUEST_DURATION_SECONDS,
            "Time to answer a request, by process, route, method and status",
        ),
        (JOB_DURATION_SECONDS, "Time a job ran, by kind"),
        (
            RATE_LIMIT_WAIT_SECONDS,
            "Time a call waited at the rate gate, by provider",
        ),
        (
            PROVIDER_REQUEST_DURATION_SECONDS,
            "Time a provider took to answer, by provider, operation and status",
        ),
    ] {
        describe_histogram!(name, Unit::Seconds, text);
    }
    describe_histogram!(
        INGRESS_BATCH_SIZE,
        Unit::Count,
        "Deliveries committed by one statement"
    );
    describe_gauge!(
        INGRESS_BACKLOG_BYTES,
        Unit::Bytes,
        "Bytes of deliveries that wait to be processed"
    );
    for (name, text) in [
        (
            SUBSCRIPTIONS_MISSING,
            "Subscriptions that are wanted and not held, by provider",
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
            "How far the feed's end lies behind the present",
        ),
        (
            SUBSCRIPTION_ENDS_IN_SECONDS,
            "Time until the first subscription ends, by provider",
        ),
    ] {
        describe_gauge!(name, Unit::Seconds, text);
    }
}
