//! Which updates the feed has a Signal for.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use crate::db::{DbError, TenantScope, Tx, storable_all};
use crate::ids::ConnectionId;

/// When the latest Signal since `since` happened to each of these subjects, by the subject's key
/// in lower case. Subjects without one are left out. Served by `signals_recent`.
pub async fn latest_by_subject(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    since: DateTime<Utc>,
    subject_keys: &[&str],
) -> Result<HashMap<String, DateTime<Utc>>, DbError> {
    if subject_keys.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<(String, DateTime<Utc>)> = sqlx::query_as(
        "SELECT lower(body #>> '{subject,key}') AS subject, max(occurred_at) \
         FROM signals \
         WHERE tenant_id = $1 AND occurred_at >= $2 AND connection_id = $3 \
           AND lower(body #>> '{subject,key}') = ANY ($4) \
         GROUP BY 1",
    )
    .bind(scope.tenant_id())
    .bind(since)
    .bind(connection)
    .bind(storable_all(subject_keys))
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().collect())
}
