//! How tries end: jobs that leave the queue, and jobs that go back into it.

use chrono::{DateTime, Utc};

use super::{ClaimedJob, Finished, JobError, JobOutcome, JobState, archive_jobs};
use crate::db::{DbError, Tx, storable_json};
use crate::ids::{JobId, TenantId};

/// First pause after a failed try, in seconds; each further one is four times as long.
const BACKOFF_SECONDS: f64 = 2.0;

pub(super) fn sort(item: &Finished, ended: &mut Ended, again: &mut Again) {
    let job = &item.job;
    if let Some(error) = item.dead_error() {
        return ended.push(job, JobState::Dead, Some(error));
    }
    match &item.outcome {
        JobOutcome::Succeeded => ended.push(job, JobState::Succeeded, None),
        JobOutcome::Cancelled => ended.push(job, JobState::Cancelled, None),
        JobOutcome::Dead(error) => ended.push(job, JobState::Dead, Some(error)),
        JobOutcome::Failed(error) => again.push(job, Pause::Backoff, error),
        JobOutcome::Interrupted(error) => again.push(job, Pause::Interrupted, error),
        JobOutcome::Postponed { at, error } => again.push(job, Pause::Until(*at), error),
    }
}

/// Jobs that leave the queue.
#[derive(Default)]
pub(super) struct Ended {
    tenants: Vec<TenantId>,
    ids: Vec<JobId>,
    tokens: Vec<i64>,
    states: Vec<String>,
    errors: Vec<Option<String>>,
}

impl Ended {
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
enum Pause {
    Backoff,
    /// Like a backoff, without costing an attempt.
    Interrupted,
    Until(DateTime<Utc>),
}

/// Jobs that go back into the queue.
#[derive(Default)]
pub(super) struct Again {
    tenants: Vec<TenantId>,
    ids: Vec<JobId>,
    tokens: Vec<i64>,
    pauses: Vec<Option<f64>>,
    moments: Vec<Option<DateTime<Utc>>>,
    refunds: Vec<i16>,
    losses: Vec<i16>,
    errors: Vec<String>,
}

impl Again {
    fn push(&mut self, job: &ClaimedJob, pause: Pause, error: &JobError) {
        self.tenants.push(job.tenant_id);
        self.ids.push(job.id);
        self.tokens.push(job.lease_token);
        let lost = job.lost_attempts;
        let (seconds, at, refund, losses) = match pause {
            Pause::Backoff => (
                Some(backoff_seconds(job.attempts, rand::random())),
                None,
                0,
                lost,
            ),
            Pause::Interrupted => {
                let seconds = interruption_seconds(lost, rand::random());
                (Some(seconds), None, 1, lost.saturating_add(1))
            }
            // The attempt ended by itself, so the job is not the cause of earlier losses.
            Pause::Until(at) => (None, Some(at), 1, 0),
        };
        self.pauses.push(seconds);
        self.moments.push(at);
        self.refunds.push(refund);
        self.losses.push(losses);
        self.errors.push(json_text(error));
    }

    pub(super) async fn write(self, tx: &mut Tx) -> Result<Vec<JobId>, DbError> {
        if self.ids.is_empty() {
            return Ok(Vec::new());
        }
        Ok(sqlx::query_scalar(
            "UPDATE jobs j SET state = 'queued', worker_id = NULL, lease_token = NULL, \
                 attempts = j.attempts - o.refund, losses = o.losses, last_error = o.error::json, \
                 run_at = coalesce(o.moment, now() + o.pause * interval '1 second') \
             FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::float8[], $5::timestamptz[], \
                 $6::smallint[], $7::text[], $8::smallint[]) \
                 AS o(tenant_id, id, lease_token, pause, moment, refund, error, losses) \
             WHERE j.tenant_id = o.tenant_id AND j.id = o.id \
               AND j.lease_token = o.lease_token AND j.state = 'running' \
             RETURNING j.id",
        )
        .bind(&self.tenants)
        .bind(&self.ids)
        .bind(&self.tokens)
        .bind(&self.pauses)
        .bind(&self.moments)
        .bind(&self.refunds)
        .bind(&self.errors)
        .bind(&self.losses)
        .fetch_all(&mut **tx)
        .await?)
    }
}

/// A pause after the interruption of an attempt: from a second to four minutes, so that all that
/// a job may lose lasts longer than most overloads.
fn interruption_seconds(lost_attempts: i16, random: f64) -> f64 {
    let full = 2_f64.powi(i32::from(lost_attempts.clamp(0, 8)));
    full / 2.0 + full / 2.0 * random
}

/// Exponential, with the upper half random, so that jobs that failed together do not come
/// back together.
fn backoff_seconds(attempts: i16, random: f64) -> f64 {
    let full = BACKOFF_SECONDS * 4_f64.powi(i32::from(attempts.max(1)) - 1);
    full / 2.0 + full / 2.0 * random
}

fn json_text(error: &JobError) -> String {
    storable_json(&serde_json::json!(error).to_string()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_are_spread() {
        assert!((1.0..=2.0).contains(&backoff_seconds(1, 0.3)));
        assert!((4.0..=8.0).contains(&backoff_seconds(2, 0.9)));
        assert!(backoff_seconds(2, 0.0) < backoff_seconds(2, 1.0));
        assert!((0.5..=1.0).contains(&interruption_seconds(0, 0.3)));
        let all: f64 = (0..10).map(|lost| interruption_seconds(lost, 0.0)).sum();
        assert!(all > 300.0, "an overload of {all} s is survived");
    }
}
