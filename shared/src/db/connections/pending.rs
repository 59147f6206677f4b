//! Creation of connections that wait for an administrator's approval.

use std::borrow::Cow;

use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, Func};
use sea_orm::{ColumnTrait, Condition, QueryFilter, QueryOrder, Select};

use super::connect::{lock_account, lock_first, of_provider};
use super::health::refresh_health;
use super::{Connection, ConnectionStatus, get, update};
use crate::db::entities::connections::{ActiveModel, Column, Entity};
use crate::db::orm::{insert_computed, now};
use crate::db::{DbError, TenantScope, Tx, sanitize};
use crate::model::{ConnectionId, ExternalAccount};

/// A connection that waits for an administrator's approval.
#[derive(Debug, Clone)]
pub struct NewPending<'a> {
    /// The provider's slug.
    pub provider: &'a str,
    /// The provider's id of the requester.
    pub requester: &'a str,
    /// The account, if the provider has named it.
    pub account: Option<&'a ExternalAccount>,
    /// The pending connection of the same connect link.
    pub existing: Option<ConnectionId>,
    /// The poll interval once it is active.
    pub poll_interval_seconds: i32,
    /// Days until the approval expires.
    pub days: i32,
}

/// Creates a connection that waits for an administrator, or returns the existing one.
///
/// A connection of the account that is not pending stays unchanged.
pub async fn create_pending(
    tx: &mut Tx,
    scope: &TenantScope,
    new: &NewPending<'_>,
) -> Result<Connection, DbError> {
    let stable_id = new.account.map(|account| sanitize(&account.stable_id));
    let name = new.account.map(|account| sanitize(&account.name));
    let account = stable_id.as_deref().unwrap_or(new.requester);
    lock_account(tx, scope, new.provider, account).await?;
    let existing = find_existing(scope, new, stable_id.as_deref());
    let pending_until = Expr::cust_with_values("now() + make_interval(days => $1)", [new.days]);
    let id = if let Some(id) = lock_first(tx, existing).await? {
        let mut extended = update(scope, id)
            .col_expr(Column::UpdatedAt, now())
            .col_expr(Column::PendingUntil, pending_until)
            .filter(Column::Status.eq(ConnectionStatus::Pending));
        let account = [
            (Column::AccountStableId, stable_id),
            (Column::AccountName, name),
        ];
        for (column, value) in account {
            if let Some(value) = value {
                let known = Func::coalesce([Expr::col(column), Expr::val(&*value)]);
                extended = extended.col_expr(column, known.into());
            }
        }
        extended.exec(&tx.orm()).await?;
        id
    } else {
        let row = ActiveModel {
            tenant_id: Set(scope.tenant_id()),
            id: Set(ConnectionId::generate()),
            provider: Set(new.provider.to_owned()),
            status: Set(ConnectionStatus::Pending),
            status_reason: Set(Some("awaiting_approval".to_owned())),
            requester: Set(Some(sanitize(new.requester).into_owned())),
            account_stable_id: Set(stable_id.map(Cow::into_owned)),
            account_name: Set(name.map(Cow::into_owned)),
            poll_interval_seconds: Set(new.poll_interval_seconds),
            ..Default::default()
        };
        let pending_until = (Column::PendingUntil, pending_until);
        let row = insert_computed(&tx.orm(), row, pending_until, [Column::Id]).await?;
        row.try_get("", "id")?
    };
    refresh_health(tx, scope, id).await?;
    get(tx, scope, id)
        .await?
        .ok_or(DbError::Corrupt("connections"))
}

/// Selects the connection of the same account, or else the pending one of the same request.
fn find_existing(
    scope: &TenantScope,
    new: &NewPending<'_>,
    stable_id: Option<&str>,
) -> Select<Entity> {
    let pending = || Condition::all().add(Column::Status.eq(ConnectionStatus::Pending));
    let same = match stable_id {
        Some(stable_id) => Condition::all().add(Column::AccountStableId.eq(stable_id)),
        None => pending()
            .add(Column::Requester.eq(&*sanitize(new.requester)))
            .add(Column::AccountStableId.is_null()),
    };
    let mut same = Condition::any().add(same);
    if let Some(existing) = new.existing {
        let mut of_link = pending().add(Column::Id.eq(existing));
        if stable_id.is_some() {
            of_link = of_link.add(Column::AccountStableId.is_null());
        }
        same = same.add(of_link);
    }
    let mut existing = of_provider(scope, new.provider)
        .filter(Column::Status.ne(ConnectionStatus::Disconnected))
        .filter(same)
        .order_by_asc(Column::Status.eq(ConnectionStatus::Pending));
    if let Some(id) = new.existing {
        existing = existing.order_by_desc(Column::Id.eq(id));
    }
    existing.order_by_asc(Column::Id)
}

/// Sets the account of a pending connection once the provider has named it.
///
/// Returns whether the connection is pending and had no account.
pub async fn name_pending(
    tx: &mut Tx,
    scope: &TenantScope,
    id: ConnectionId,
    account: &ExternalAccount,
) -> Result<bool, DbError> {
    let named = ActiveModel {
        account_stable_id: Set(Some(sanitize(&account.stable_id).into_owned())),
        account_name: Set(Some(sanitize(&account.name).into_owned())),
        ..Default::default()
    };
    let named = update(scope, id)
        .set(named)
        .col_expr(Column::UpdatedAt, now())
        .filter(Column::Status.eq(ConnectionStatus::Pending))
        .filter(Column::AccountStableId.is_null())
        .exec(&tx.orm())
        .await?;
    Ok(named.rows_affected == 1)
}
