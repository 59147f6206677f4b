//! The stored health of connections.
//!
//! It is written with the facts that it follows from, and reviewed. Lists filter by the stored health,
//! so it is written by every function of this module that changes a fact. Time changes it as well:
//! each route has the time of the next review. The transaction that stores a change also writes the
//! event that reports it.

mod changes;

use chrono::{DateTime, Utc};

use self::changes::Change;
pub(super) use self::changes::{report_backfilled, report_connected};
use super::ConnectionStatus;
use crate::db::entities::connection_routes;
use crate::db::orm::now;
use crate::db::{Db, DbError, Json, TenantScope, Tx};
use crate::health::{Facts, Health, HealthReason, Reported, assess};
use crate::model::{ConnectionId, JobError, TenantId};

/// The maximum number of connections that one transaction reviews.
const MAX_REVIEWED: i64 = 500;

/// The stored health of a connection and its activity.
#[derive(Debug, Clone)]
pub struct ConnectionHealth {
    /// The connection.
    pub id: ConnectionId,
    /// The health.
    pub health: Health,
    /// The activity of its webhooks and Signals.
    pub activity: Activity,
}

/// The activity of a connection, to the minute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Activity {
    /// The time of the read.
    pub now: DateTime<Utc>,
    /// When the last delivery arrived.
    pub last_delivery_at: Option<DateTime<Utc>>,
    /// When the last Signal was stored.
    pub last_signal_at: Option<DateTime<Utc>>,
    /// The longest time between two deliveries, in seconds; it halves in two weeks.
    pub longest_gap_seconds: f64,
    /// The number of facts that reads found since the last delivery and no delivery had reported.
    pub missed_since_delivery: i64,
    /// The number of such facts in the last 24 hours.
    pub missed_24h: i64,
    /// The number of subscriptions that the provider holds.
    pub subscriptions: i64,
}

#[derive(sqlx::FromRow)]
struct Row {
    tenant_id: TenantId,
    id: ConnectionId,
    provider: String,
    status: ConnectionStatus,
    status_reason: Option<String>,
    account_name: Option<String>,
    last_error: Option<Json<JobError>>,
    now: DateTime<Utc>,
    approval_expires_at: Option<DateTime<Utc>>,
    is_backfilled: bool,
    overdue_at: Option<DateTime<Utc>>,
    grant_ends_at: Option<DateTime<Utc>>,
    subscription_ends_at: Option<DateTime<Utc>>,
    is_quota_spent: bool,
    is_all_denied: bool,
    last_delivery_at: Option<DateTime<Utc>>,
    last_signal_at: Option<DateTime<Utc>>,
    longest_gap_seconds: f64,
    missed_since_delivery: i64,
    rejected_at: Option<DateTime<Utc>>,
    own_rejected_at: Option<DateTime<Utc>>,
    missed_24h: i64,
    subscriptions: i64,
    health_reason: String,
    health_since: DateTime<Utc>,
    reported_health: String,
    reported_since: DateTime<Utc>,
    report_due_at: Option<DateTime<Utc>>,
}

impl Row {
    fn stored_reason(&self) -> Result<HealthReason, DbError> {
        let reason = self.health_reason.parse();
        reason.map_err(|_| DbError::Corrupt("connections.health_reason"))
    }

    fn reported(&self) -> Result<Reported, DbError> {
        let state = self.reported_health.parse();
        Ok(Reported {
            state: state.map_err(|_| DbError::Corrupt("connections.reported_health"))?,
            since: self.reported_since,
            due_at: self.report_due_at,
        })
    }

    fn into_facts(self) -> Facts {
        Facts {
            now: self.now,
            provider: self.provider,
            status: self.status,
            status_reason: self.status_reason,
            account_name: self.account_name,
            approval_expires_at: self.approval_expires_at,
            last_error: self.last_error.map(|Json(error)| error),
            is_quota_spent: self.is_quota_spent,
            is_all_denied: self.is_all_denied,
            is_backfilled: self.is_backfilled,
            overdue_at: self.overdue_at,
            grant_ends_at: self.grant_ends_at,
            subscription_ends_at: self.subscription_ends_at,
            last_delivery_at: self.last_delivery_at,
            missed_since_delivery: self.missed_since_delivery,
            rejected_at: self.rejected_at,
            own_rejected_at: self.own_rejected_at,
        }
    }

    const fn activity(&self) -> Activity {
        Activity {
            now: self.now,
            last_delivery_at: self.last_delivery_at,
            last_signal_at: self.last_signal_at,
            longest_gap_seconds: self.longest_gap_seconds,
            missed_since_delivery: self.missed_since_delivery,
            missed_24h: self.missed_24h,
            subscriptions: self.subscriptions,
        }
    }
}

type Key = (TenantId, ConnectionId);

/// Whether a read locks the rows of connections.
#[derive(Debug, Clone, Copy)]
enum Lock {
    None,
    Connections,
}

async fn read(tx: &mut Tx, keys: &[Key], lock: Lock) -> Result<Vec<Row>, DbError> {
    let (tenants, ids): (Vec<TenantId>, Vec<ConnectionId>) = keys.iter().copied().unzip();
    let statement = match lock {
        Lock::None => include_str!("health.sql"),
        // Of two transactions, the second one sees what the first one has reported.
        Lock::Connections => concat!(include_str!("health.sql"), "FOR NO KEY UPDATE OF c"),
    };
    Ok(sqlx::query_as(statement)
        .bind(tenants)
        .bind(ids)
        .fetch_all(&mut **tx)
        .await?)
}

/// Returns the stored health and the activity of connections.
///
/// The explanation has the current details.
pub async fn load_health(tx: &mut Tx, keys: &[Key]) -> Result<Vec<ConnectionHealth>, DbError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let rows = read(tx, keys, Lock::None).await?;
    rows.into_iter()
        .map(|row| {
            let reason = row.stored_reason()?;
            let (id, since, activity) = (row.id, row.health_since, row.activity());
            Ok(ConnectionHealth {
                id,
                health: Health::explain(reason, since, &row.into_facts()),
                activity,
            })
        })
        .collect()
}

/// Assesses a connection after its facts have changed, in the transaction of the change.
pub async fn refresh_health(
    tx: &mut Tx,
    scope: &TenantScope,
    id: ConnectionId,
) -> Result<(), DbError> {
    assess_all(tx, &[(scope.tenant_id(), id)]).await
}

/// Makes a connection due for a review, after a fact of another table has changed.
pub(in crate::db) async fn review_soon(
    tx: &mut Tx,
    scope: &TenantScope,
    id: ConnectionId,
) -> Result<(), DbError> {
    connection_routes::Entity::update_of(scope, id)
        .col_expr(connection_routes::Column::HealthReviewAt, now())
        .exec(&tx.orm())
        .await?;
    Ok(())
}

/// Assesses connections, stores what has changed, and reports it by events.
///
/// A review that is due earlier than necessary is kept: it is cheaper than to move it at every
/// read.
pub(in crate::db) async fn assess_all(tx: &mut Tx, keys: &[Key]) -> Result<(), DbError> {
    let rows = read(tx, keys, Lock::Connections).await?;
    let (mut tenants, mut ids, mut reviews) = (Vec::new(), Vec::new(), Vec::new());
    let mut changes = Vec::new();
    for row in rows {
        let key = (row.tenant_id, row.id);
        let (change, review_at) = assess_row(row)?;
        changes.extend(change);
        tenants.push(key.0);
        ids.push(key.1);
        reviews.push(review_at);
    }
    changes::store(tx, &changes).await?;
    sqlx::query(
        "UPDATE connection_routes r SET health_review_at = n.review_at \
         FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS n(tenant_id, id, review_at) \
         WHERE r.tenant_id = n.tenant_id AND r.connection_id = n.id \
           AND (r.health_review_at <= now() OR r.health_review_at > n.review_at)",
    )
    .bind(tenants)
    .bind(ids)
    .bind(reviews)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The change of a connection's stored health, if there is one, and the time of the next review.
fn assess_row(row: Row) -> Result<(Option<Change>, DateTime<Utc>), DbError> {
    let (key, stored_reason, before) = (
        (row.tenant_id, row.id),
        row.stored_reason()?,
        row.reported()?,
    );
    let (now, stored_since) = (row.now, row.health_since);
    let facts = row.into_facts();
    let assessment = assess(&facts);
    let mut reported = before;
    let event = reported.observe(assessment.reason.state(), now);
    // A recovery that is not reported yet is reported by the review.
    let report_at = reported.due_at.filter(|at| *at > now);
    let review_at = report_at.map_or(assessment.review_at, |at| at.min(assessment.review_at));
    let is_same_reason = assessment.reason == stored_reason;
    if is_same_reason && reported == before {
        return Ok((None, review_at));
    }
    let since = if is_same_reason { stored_since } else { now };
    let change = Change {
        key,
        health: Health::explain(assessment.reason, since, &facts),
        provider: facts.provider,
        previous_state: before.state,
        reported,
        event,
    };
    Ok((Some(change), review_at))
}

/// The access with which a process finds the connections that are due for a review.
#[derive(Debug, Clone, Copy)]
pub enum Reviewer {
    /// A worker, which reads routes across tenants.
    Worker,
    /// The api-server, in the operators' role; it leaves workers half a minute.
    Api,
}

/// Assesses the connections whose review is due; returns their number.
///
/// Connections that another transaction holds are left to the next call. Served by the index
/// `connection_routes_health_review`.
pub async fn review_health(db: &Db, reviewer: Reviewer) -> Result<usize, DbError> {
    let (mut tx, delay) = match reviewer {
        Reviewer::Worker => (db.begin_unscoped().await?, 0.0),
        Reviewer::Api => (db.begin_as_operator().await?, 30.0),
    };
    let due: Vec<Key> = sqlx::query_as(
        "SELECT tenant_id, connection_id FROM connection_routes \
         WHERE health_review_at <= now() - make_interval(secs => $1) \
         ORDER BY health_review_at LIMIT $2",
    )
    .bind(delay)
    .bind(MAX_REVIEWED)
    .fetch_all(&mut *tx)
    .await?;
    tx.end_read();
    if due.is_empty() {
        return Ok(0);
    }
    let mut scopes: Vec<TenantScope> = due
        .iter()
        .map(|(tenant, _)| TenantScope::new(*tenant))
        .collect();
    scopes.sort_by_key(TenantScope::tenant_id);
    scopes.dedup();
    let mut tx = db.begin_many(&scopes).await?;
    let (tenants, ids): (Vec<TenantId>, Vec<ConnectionId>) = due.into_iter().unzip();
    let locked: Vec<Key> = sqlx::query_as(
        "SELECT c.tenant_id, c.id FROM unnest($1::uuid[], $2::uuid[]) AS k(tenant_id, id) \
         JOIN connections c ON c.tenant_id = k.tenant_id AND c.id = k.id \
         FOR NO KEY UPDATE OF c SKIP LOCKED",
    )
    .bind(tenants)
    .bind(ids)
    .fetch_all(&mut *tx)
    .await?;
    assess_all(&mut tx, &locked).await?;
    tx.commit().await?;
    Ok(locked.len())
}
