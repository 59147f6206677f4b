//! Recording of outcomes: jobs that leave the queue and jobs that are requeued.

use chrono::{DateTime, Utc};

use super::{ClaimedJob, Finished, JobOutcome, archive_jobs};
use crate::db::{DbError, Tx, sanitize_json};
use crate::model::{JobError, JobId, JobState, TenantId};

/// Backoff after the first failed attempt, in seconds; each further one is four times as long.
const BACKOFF_SECONDS: f64 = 2.0;

/// Assigns a finished attempt to the jobs that leave the queue or to those that are requeued.
pub(super) fn classify(item: &Finished, finalized: &mut Finalized, requeued: &mut Requeued) {
    let job = &item.job;
    if let Some(error) = item.dead_error() {
        return finalized.push(job, JobState::Dead, Some(error));
    }
    match &item.outcome {
        JobOutcome::Succeeded => finalized.push(job, JobState::Succeeded, None),
        JobOutcome::Cancelled => finalized.push(job, JobState::Cancelled, None),
        JobOutcome::Dead(error) => finalized.push(job, JobState::Dead, Some(error)),
        JobOutcome::Failed(error) => requeued.push(job, Delay::Backoff, error),
        JobOutcome::Interrupted(error) => requeued.push(job, Delay::Interrupted, error),
        JobOutcome::Snoozed { at, error } => requeued.push(job, Delay::Until(*at), error),
    }
}

/// Jobs that leave the queue.
#[derive(Default)]
pub(super) struct Finalized {
    tenants: Vec<TenantId>,
    ids: Vec<JobId>,
    tokens: Vec<i64>,
    states: Vec<String>,
    errors: Vec<Option<String>>,
}

impl Finalized {
    fn push(&mut self, job: &ClaimedJob, state: JobState, error: Option<&JobError>) {
        self.tenants.push(job.tenant_id);
        self.ids.push(job.id);
        self.tokens.push(job.lease_token);
        self.states.push(<&str>::from(state).to_owned());
        self.errors.push(error.map(json_text));
    }

    pub(super) async fn write(self, tx: &mut Tx) -> Result<Vec<JobId>, DbError> {
        if self.ids.is_empty() {
            return Ok(Vec::new());
        }
        Ok(sqlx::query_scalar(concat!(
            "WITH gone AS ( \
                 DELETE FROM jobs j \
                 USING unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::text[]) \
                     AS o(tenant_id, id, lease_token, final_state, error) \
                 WHERE j.tenant_id = o.tenant_id AND j.id = o.id \
                   AND j.lease_token = o.lease_token AND j.state = 'running' \
                 RETURNING j.*, o.final_state, o.error \
             ) ",
            archive_jobs!(
                "final_state::job_state",
                "coalesce(error::json, last_error)"
            ),
            "RETURNING id",
        ))
        .bind(&self.tenants)
        .bind(&self.ids)
        .bind(&self.tokens)
        .bind(&self.states)
        .bind(&self.errors)
        .fetch_all(&mut **tx)
        .await?)
    }
}

#[derive(Clone, Copy)]
enum Delay {
    Backoff,
    /// A backoff that uses up no attempt.
    Interrupted,
    Until(DateTime<Utc>),
}

/// Jobs that are requeued.
#[derive(Default)]
pub(super) struct Requeued {
    tenants: Vec<TenantId>,
    ids: Vec<JobId>,
    tokens: Vec<i64>,
    delays: Vec<Option<f64>>,
    run_ats: Vec<Option<DateTime<Utc>>>,
    refunds: Vec<i16>,
    lost_attempts: Vec<i16>,
    errors: Vec<String>,
}

impl Requeued {
    fn push(&mut self, job: &ClaimedJob, delay: Delay, error: &JobError) {
        self.tenants.push(job.tenant_id);
        self.ids.push(job.id);
        self.tokens.push(job.lease_token);
        let lost = job.lost_attempts;
        let (seconds, at, refund, lost_attempts) = match delay {
            Delay::Backoff => (
                Some(backoff_seconds(job.attempts, rand::random())),
                None,
                0,
                lost,
            ),
            Delay::Interrupted => {
                let seconds = interruption_seconds(lost, rand::random());
                (Some(seconds), None, 1, lost.saturating_add(1))
            }
            // The attempt ended in an orderly way, so the job did not cause earlier losses.
            Delay::Until(at) => (None, Some(at), 1, 0),
        };
        self.delays.push(seconds);
        self.run_ats.push(at);
        self.refunds.push(refund);
        self.lost_attempts.push(lost_attempts);
        self.errors.push(json_text(error));
    }

    pub(super) async fn write(self, tx: &mut Tx) -> Result<Vec<JobId>, DbError> {
        if self.ids.is_empty() {
            return Ok(Vec::new());
        }
        Ok(sqlx::query_scalar(
            "UPDATE jobs j SET state = 'queued', worker_id = NULL, lease_token = NULL, \
                 attempts = j.attempts - o.refund, lost_attempts = o.lost_attempts, \
                 last_error = o.error::json, \
                 run_at = coalesce(o.run_at, now() + o.delay * interval '1 second') \
             FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::float8[], $5::timestamptz[], \
                 $6::smallint[], $7::text[], $8::smallint[]) \
                 AS o(tenant_id, id, lease_token, delay, run_at, refund, error, lost_attempts) \
             WHERE j.tenant_id = o.tenant_id AND j.id = o.id \
               AND j.lease_token = o.lease_token AND j.state = 'running' \
             RETURNING j.id",
        )
        .bind(&self.tenants)
        .bind(&self.ids)
        .bind(&self.tokens)
        .bind(&self.delays)
        .bind(&self.run_ats)
        .bind(&self.refunds)
        .bind(&self.errors)
        .bind(&self.lost_attempts)
        .fetch_all(&mut **tx)
        .await?)
    }
}

/// Backoff after an interrupted attempt, in seconds: from one second to four minutes.
///
/// The sum over all lost attempts that a job may have exceeds the duration of most overloads.
fn interruption_seconds(lost_attempts: i16, random: f64) -> f64 {
    let full = 2_f64.powi(i32::from(lost_attempts.clamp(0, 8)));
    full / 2.0 + full / 2.0 * random
}

/// Exponential backoff in seconds, with the upper half as random jitter.
///
/// The jitter keeps jobs that failed together from retrying together.
fn backoff_seconds(attempts: i16, random: f64) -> f64 {
    let full = BACKOFF_SECONDS * 4_f64.powi(i32::from(attempts.max(1)) - 1);
    full / 2.0 + full / 2.0 * random
}

fn json_text(error: &JobError) -> String {
    sanitize_json(&serde_json::json!(error).to_string()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_with_jitter() {
        assert!((1.0..=2.0).contains(&backoff_seconds(1, 0.3)));
        assert!((4.0..=8.0).contains(&backoff_seconds(2, 0.9)));
        assert!(backoff_seconds(2, 0.0) < backoff_seconds(2, 1.0));
        assert!((0.5..=1.0).contains(&interruption_seconds(0, 0.3)));
        let all: f64 = (0..10).map(|lost| interruption_seconds(lost, 0.0)).sum();
        assert!(all > 300.0, "sum of {all} s exceeds five minutes");
    }
}
