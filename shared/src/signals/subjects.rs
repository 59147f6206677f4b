//! The latest Signals of given subjects, which show whether the feed has an update.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use crate::db::{DbError, TenantScope, Tx, sanitize_all};
use crate::model::ConnectionId;

/// Returns when the latest Signal of each subject since `since` happened.
///
/// Keys of the map are subject keys in lower case; subjects without a Signal are absent. Served
/// by `signals_recent`.
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
    .bind(sanitize_all(subject_keys))
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().collect())
}
