//! Changes of a connection's status, and its end.

use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, Condition, QueryFilter};

use super::health::refresh_health;
use super::{ConnectionStatus, update};
use crate::db::entities::connections::{ActiveModel, Column};
use crate::db::entities::{connection_routes, cursors, delivery_routes, subscriptions};
use crate::db::orm::{Scoped, now};
use crate::db::{DbError, TenantScope, Tx, directory, webhook_secrets};
use crate::model::ConnectionId;

/// Sets a connection's status and updates its route; returns whether anything changed.
///
/// An active connection is polled immediately. A paused or suspended one, and one without a valid
/// grant, keeps its route, so that deliveries are still accepted. A disconnected one has no route,
/// and only [`super::connect`] ends that status. A paused connection stays paused when its grant is
/// suspended or refused: resuming it reveals that.
pub async fn set_status(
    tx: &mut Tx,
    scope: &TenantScope,
    id: ConnectionId,
    status: ConnectionStatus,
    reason: Option<&str>,
) -> Result<bool, DbError> {
    let other_reason = match reason {
        Some(reason) => Condition::any()
            .add(Column::StatusReason.is_null())
            .add(Column::StatusReason.ne(reason)),
        None => Condition::all().add(Column::StatusReason.is_not_null()),
    };
    let differs = Condition::any()
        .add(Column::Status.ne(status))
        .add(other_reason);
    let changed = ActiveModel {
        status: Set(status),
        status_reason: Set(reason.map(str::to_owned)),
        ..Default::default()
    };
    let mut change = update(scope, id)
        .set(changed)
        .col_expr(Column::UpdatedAt, now())
        .filter(Column::Status.ne(ConnectionStatus::Disconnected))
        .filter(differs);
    if matches!(
        status,
        ConnectionStatus::Suspended | ConnectionStatus::NeedsReauth
    ) {
        change = change.filter(Column::Status.ne(ConnectionStatus::Paused));
    }
    if change.exec(&tx.orm()).await?.rows_affected == 0 {
        return Ok(false);
    }
    if status == ConnectionStatus::Disconnected {
        delete_routes(tx, scope, id).await?;
    } else {
        update_route(tx, scope, id, status).await?;
    }
    refresh_health(tx, scope, id).await?;
    Ok(true)
}

async fn delete_routes(tx: &mut Tx, scope: &TenantScope, id: ConnectionId) -> Result<(), DbError> {
    connection_routes::Entity::delete_scoped(scope)
        .filter(connection_routes::Column::ConnectionId.eq(id))
        .exec(&tx.orm())
        .await?;
    delivery_routes::Entity::delete_scoped(scope)
        .filter(delivery_routes::Column::ConnectionId.eq(id))
        .exec(&tx.orm())
        .await?;
    Ok(())
}

/// Starts or stops the polls and probes of a connection that has not ended.
async fn update_route(
    tx: &mut Tx,
    scope: &TenantScope,
    id: ConnectionId,
    status: ConnectionStatus,
) -> Result<(), DbError> {
    use connection_routes::Column;

    // The time until the first probe, and between two later ones.
    let probes = match status {
        // The provider may not report the end of a suspension.
        ConnectionStatus::Suspended => Some(("5 minutes", "30 minutes")),
        // A refusal may be an error of the provider, and an administrator may restore the grant.
        ConnectionStatus::NeedsReauth => Some(("6 hours", "6 hours")),
        _ => None,
    };
    let is_active = status == ConnectionStatus::Active;
    let route = connection_routes::ActiveModel {
        polling: Set(is_active),
        probe_interval: Set(probes.map(|(_, interval)| interval.to_owned())),
        ..Default::default()
    };
    let first_probe = probes.map(|(first, _)| first);
    let probe_at = Expr::cust_with_values("now() + $1::interval", [first_probe]);
    let mut change = connection_routes::Entity::update_of(scope, id)
        .set(route)
        .col_expr(Column::ProbeAt, probe_at);
    if is_active {
        change = change
            .col_expr(Column::NextSyncAt, now())
            .col_expr(Column::SubscriptionsAt, now());
    }
    change.exec(&tx.orm()).await?;
    Ok(())
}

/// Ends a connection; returns whether it had not ended before.
///
/// Deletes route, cursors, subscriptions and webhook secrets; the row is kept as history. The
/// caller erases the tokens through the credential store.
pub async fn disconnect(
    tx: &mut Tx,
    scope: &TenantScope,
    id: ConnectionId,
    reason: &str,
) -> Result<bool, DbError> {
    if !set_status(tx, scope, id, ConnectionStatus::Disconnected, Some(reason)).await? {
        return Ok(false);
    }
    cursors::Entity::delete_scoped(scope)
        .filter(cursors::Column::ConnectionId.eq(id))
        .exec(&tx.orm())
        .await?;
    subscriptions::Entity::delete_scoped(scope)
        .filter(subscriptions::Column::ConnectionId.eq(id))
        .exec(&tx.orm())
        .await?;
    directory::erase(tx, scope, id).await?;
    update(scope, id)
        .set(without_progress())
        .exec(&tx.orm())
        .await?;
    webhook_secrets::erase(tx, scope, id).await?;
    Ok(true)
}

/// The state from which a later connection of the account begins, with a full backfill.
fn without_progress() -> ActiveModel {
    ActiveModel {
        run_seconds: Set(0),
        last_error: Set(None),
        backfill_started_at: Set(None),
        backfilled_at: Set(None),
        complete_through: Set(None),
        complete_tx: Set(None),
        previous_complete_through: Set(None),
        reconciled_through: Set(None),
        previous_reconciled_through: Set(None),
        held_back_by: Set(None),
        missed_count: Set(0),
        run_missed: Set(0),
        missed_at: Set(None),
        poll_boost: Set(0),
        ..Default::default()
    }
}
