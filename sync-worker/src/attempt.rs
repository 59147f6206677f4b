//! The span, the metrics and the log line of an attempt to run a job.

use std::time::Instant;

use metrics::{counter, histogram};
use shared::model::JobError;
use shared::queue::{ClaimedJob, JobOutcome};
use shared::telemetry::{link_traceparent, names, record_trace_id, set_parent};
use tracing::{Span, field};

/// The span of a job, in the trace of the request or job that enqueued it.
///
/// A retry starts a new trace and links to that one.
pub(crate) fn span(job: &ClaimedJob) -> Span {
    let span = tracing::info_span!(
        "job",
        otel.kind = "consumer",
        job.id = %job.id,
        job.kind = job.payload.kind().as_str(),
        job.attempt = job.attempts,
        tenant.id = %job.tenant_id,
        connection.id = job.connection_id.map(field::display),
        provider = (!job.provider.is_empty()).then_some(&*job.provider),
        trace.id = field::Empty,
        job.outcome = field::Empty,
        error.type = field::Empty,
        otel.status_code = field::Empty,
    );
    if let Some(traceparent) = &job.traceparent {
        if job.attempts > 1 {
            link_traceparent(&span, traceparent);
        } else {
            set_parent(&span, traceparent);
        }
    }
    record_trace_id(&span);
    span
}

/// Counts and logs the outcome of an attempt, in its span.
pub(crate) fn report(kind: &'static str, outcome: &JobOutcome, started: Instant) {
    let (name, error): (_, Option<&JobError>) = match outcome {
        JobOutcome::Succeeded => ("succeeded", None),
        JobOutcome::Snoozed { error, .. } => ("snoozed", Some(error)),
        JobOutcome::Failed(error) => ("failed", Some(error)),
        JobOutcome::Interrupted(error) => ("interrupted", Some(error)),
        JobOutcome::Dead(error) => ("dead", Some(error)),
        JobOutcome::Cancelled => ("cancelled", None),
    };
    counter!(names::JOBS_TOTAL, "kind" => kind, "outcome" => name).increment(1);
    histogram!(names::JOB_DURATION_SECONDS, "kind" => kind).record(started.elapsed().as_secs_f64());
    match error {
        Some(error) if name != "snoozed" => {
            let span = Span::current();
            span.record("job.outcome", name);
            span.record("error.type", &*error.code);
            span.record("otel.status_code", "ERROR");
            tracing::warn!(error.code = error.code, "job did not succeed");
        }
        _ => {
            Span::current().record("job.outcome", name);
            tracing::debug!("job ended");
        }
    }
}
