//! Results of webhook requests, counted per hour.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::{Db, DbError, Tx};
use crate::model::ConnectionId;

/// The number of requests of a provider with the same result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultCount {
    /// The provider's slug.
    pub provider: &'static str,
    /// The connection whose own URL rejected the requests; `None` for all others.
    pub connection: Option<ConnectionId>,
    /// The result, as in the metric.
    pub result: &'static str,
    /// The number of requests.
    pub requests: i64,
}

/// Adds counts to those of the current hour; they must be sorted by their keys.
///
/// All processes then lock rows in one order.
pub async fn add(db: &Db, counts: &[ResultCount]) -> Result<(), DbError> {
    if counts.is_empty() {
        return Ok(());
    }
    let mut tx = db.begin_unscoped().await?;
    sqlx::query(
        "INSERT INTO webhook_results AS w (provider, connection_id, result, hour, requests) \
         SELECT provider, connection_id, result, date_trunc('hour', now()), requests \
         FROM unnest($1::text[], $2::uuid[], $3::text[], $4::bigint[]) \
             AS n(provider, connection_id, result, requests) \
         ON CONFLICT (provider, connection_id, result, hour) DO UPDATE SET \
             requests = w.requests + excluded.requests, last_at = now()",
    )
    .bind(counts.iter().map(|one| one.provider).collect::<Vec<_>>())
    .bind(
        counts
            .iter()
            .map(|one| one.connection.map(|id| id.0).unwrap_or_default())
            .collect::<Vec<_>>(),
    )
    .bind(counts.iter().map(|one| one.result).collect::<Vec<_>>())
    .bind(counts.iter().map(|one| one.requests).collect::<Vec<_>>())
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

/// The number of requests of a provider with the same result in the last 24 hours.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct DailyCount {
    /// The provider's slug.
    pub provider: String,
    /// The result, as in the metric.
    pub result: String,
    /// The number of requests.
    pub requests: i64,
    /// When the last one arrived.
    pub last_at: DateTime<Utc>,
}

/// Returns the results of the last 24 hours, by provider.
pub async fn list_daily(tx: &mut Tx) -> Result<Vec<DailyCount>, DbError> {
    Ok(sqlx::query_as(
        "SELECT provider, result, sum(requests)::bigint AS requests, max(last_at) AS last_at \
         FROM webhook_results WHERE hour > now() - interval '24 hours' \
         GROUP BY provider, result ORDER BY provider, result",
    )
    .fetch_all(&mut **tx)
    .await?)
}

/// The number of webhook requests of an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct HourlyCount {
    /// The beginning of the hour.
    pub hour: DateTime<Utc>,
    /// The number of requests.
    pub requests: i64,
    /// The seconds of the hour that have passed.
    pub seconds: i32,
}

/// Returns the requests of each of the last 24 hours, oldest first, the current one included.
pub async fn list_hourly(tx: &mut Tx) -> Result<Vec<HourlyCount>, DbError> {
    Ok(sqlx::query_as(
        "SELECT h.hour, coalesce(sum(w.requests), 0)::bigint AS requests, \
             least(3600, extract(epoch FROM now() - h.hour))::integer AS seconds \
         FROM generate_series(date_trunc('hour', now()) - interval '23 hours', now(), \
             interval '1 hour') AS h(hour) \
         LEFT JOIN webhook_results w ON w.hour = h.hour GROUP BY h.hour ORDER BY h.hour",
    )
    .fetch_all(&mut **tx)
    .await?)
}
