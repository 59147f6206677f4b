//! The SQL that enqueues jobs and the SQL that archives them.
//!
//! A job's row holds the bytes of its deliveries, because the limits on the backlog count bytes.
//! Every statement that enqueues jobs therefore names its rows `new_jobs` and ends with
//! [`insert_jobs`], which sets every column.

use crate::db::{DbError, Json, Tx};
use crate::model::{Enqueued, JobId, NewJob};

/// The end of a statement that inserts each row of `new_jobs` as a job.
macro_rules! insert_jobs {
    () => {
        "INSERT INTO jobs (tenant_id, id, kind, provider, connection_id, cursor_window, priority, \
             payload, bytes, traceparent) \
         SELECT n.tenant_id, n.id, n.kind, n.provider, n.connection_id, n.cursor_window, \
             n.priority, n.payload, n.bytes, n.traceparent \
         FROM new_jobs n ORDER BY n.tenant_id, n.provider, n.cursor_window "
    };
}

/// Like [`insert_jobs`], but skips a job whose window is already queued or running.
macro_rules! insert_jobs_once {
    () => {
        concat!(
            $crate::queue::insert_jobs!(),
            "ON CONFLICT (tenant_id, provider, cursor_window) WHERE cursor_window IS NOT NULL \
             DO NOTHING "
        )
    };
}

/// The end of a statement that moves the rows of `removed` to `job_history`.
///
/// `$state` and `$error` are SQL expressions for the final state and the last error.
macro_rules! archive_jobs {
    ($state:literal, $error:literal) => {
        concat!(
            "INSERT INTO job_history (tenant_id, id, kind, provider, connection_id, cursor_window, \
                 state, priority, attempts, max_attempts, payload, last_error, traceparent, \
                 created_at, started_at) \
             SELECT tenant_id, id, kind, provider, connection_id, cursor_window, ",
            $state,
            ", priority, attempts, max_attempts, payload, ",
            $error,
            ", traceparent, created_at, started_at FROM removed "
        )
    };
}

pub(crate) use insert_jobs;
pub(super) use {archive_jobs, insert_jobs_once};

/// Inserts a job, unless one with the same window is queued or running.
pub(super) async fn enqueue(tx: &mut Tx, job: &NewJob) -> Result<Enqueued, DbError> {
    let id = JobId::generate();
    let deliveries = job.payload.deliveries();
    let times: Vec<_> = deliveries.iter().map(|id| id.received_at()).collect();
    // The conflicting job may end between the insert and the select; then try again.
    for _ in 0..3 {
        let created: Option<JobId> = sqlx::query_scalar(concat!(
            "WITH new_jobs AS ( \
                 SELECT $1::uuid AS tenant_id, $2::uuid AS id, $3::job_kind AS kind, \
                     $4::text AS provider, $5::uuid AS connection_id, $6::text AS cursor_window, \
                     $7::smallint AS priority, $8::json AS payload, $9::text AS traceparent, \
                     (SELECT coalesce(sum(octet_length(d.body) + octet_length(d.headers::text) + $14), 0) \
                      FROM unnest($10::timestamptz[], $11::uuid[]) AS k(received_at, id) \
                      JOIN deliveries d ON d.tenant_id = $1 AND d.received_at = k.received_at \
                          AND d.id = k.id \
                      WHERE d.received_at BETWEEN $12 AND $13)::bigint AS bytes \
             ) ",
            insert_jobs_once!(),
            "RETURNING id"
        ))
        .bind(job.tenant_id)
        .bind(id)
        .bind(job.payload.kind())
        .bind(&job.provider)
        .bind(job.connection_id)
        .bind(&job.cursor_window)
        .bind(job.payload.kind().priority())
        .bind(Json(&job.payload))
        .bind(&job.traceparent)
        .bind(&times)
        .bind(deliveries)
        .bind(times.iter().min())
        .bind(times.iter().max())
        .bind(DELIVERY_ROW_BYTES)
        .fetch_optional(&mut **tx)
        .await?;
        if let Some(job_id) = created {
            return Ok(Enqueued {
                job_id,
                created: true,
            });
        }
        let existing: Option<JobId> = sqlx::query_scalar(
            "SELECT id FROM jobs WHERE tenant_id = $1 AND provider = $2 AND cursor_window = $3",
        )
        .bind(job.tenant_id)
        .bind(&job.provider)
        .bind(&job.cursor_window)
        .fetch_optional(&mut **tx)
        .await?;
        if let Some(job_id) = existing {
            return Ok(Enqueued {
                job_id,
                created: false,
            });
        }
    }
    Err(DbError::Corrupt(
        "the window of a job is both taken and free",
    ))
}

/// Approximate bytes of a stored delivery in addition to its headers and body.
pub(crate) const DELIVERY_ROW_BYTES: i32 = 512;
