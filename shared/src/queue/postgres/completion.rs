//! Recording of outcomes: jobs that leave the queue and jobs that are requeued.

use chrono::{DateTime, Utc};

use super::insert::archive_jobs;
use crate::db::{DbError, Tx, sanitize_json};
use crate::model::{JobError, JobId, JobState, TenantId};
use crate::queue::{ClaimedJob, Due, Finished, Transition};

/// Assigns a finished attempt to the jobs that leave the queue or to those that are requeued.
pub(super) fn classify(item: &Finished, finalized: &mut Finalized, requeued: &mut Requeued) {
    match Transition::of(item) {
        Transition::Finalized { state, error } => finalized.push(&item.job, state, error),
        Transition::Requeued {
            due,
            is_refunded,
            lost_attempts,
            error,
        } => {
            let refund = i16::from(is_refunded);
            requeued.push(&item.job, due, refund, lost_attempts, error);
        }
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
            "WITH removed AS ( \
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
    fn push(
        &mut self,
        job: &ClaimedJob,
        due: Due,
        refund: i16,
        lost_attempts: i16,
        error: &JobError,
    ) {
        self.tenants.push(job.tenant_id);
        self.ids.push(job.id);
        self.tokens.push(job.lease_token);
        let (delay, run_at) = match due {
            Due::After(delay) => (Some(delay.as_secs_f64()), None),
            Due::At(at) => (None, Some(at)),
        };
        self.delays.push(delay);
        self.run_ats.push(run_at);
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

fn json_text(error: &JobError) -> String {
    sanitize_json(&serde_json::json!(error).to_string()).into_owned()
}
