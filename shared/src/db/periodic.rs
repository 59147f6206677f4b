//! Periodic tasks of the service, each run by one worker per period.

use super::{Db, DbError, Tx};

/// Returns which of the tasks `names` are due; a new one is.
///
/// It only reads, so that the frequent check writes nothing.
pub async fn find_due(db: &Db, names: &[String]) -> Result<Vec<String>, DbError> {
    let due = sqlx::query_scalar(
        "SELECT name FROM unnest($1::text[]) AS n(name) WHERE NOT EXISTS \
             (SELECT FROM periodic_tasks t WHERE t.name = n.name AND t.next_at > now())",
    )
    .bind(names)
    .fetch_all(db)
    .await?;
    Ok(due)
}

/// Claims the task `name` for one period; returns whether this transaction may run it.
///
/// The transaction also enqueues the task's job, so that a claim is never without its job. A new
/// task is due immediately.
pub async fn claim_periodic_task(
    tx: &mut Tx,
    name: &str,
    period_seconds: f64,
) -> Result<bool, DbError> {
    let result = sqlx::query(
        "INSERT INTO periodic_tasks (name, next_at) VALUES ($1, now() + $2 * interval '1 second') \
         ON CONFLICT (name) DO UPDATE SET next_at = excluded.next_at \
         WHERE periodic_tasks.next_at <= now()",
    )
    .bind(name)
    .bind(period_seconds)
    .execute(&mut **tx)
    .await?;
    Ok(result.rows_affected() == 1)
}
