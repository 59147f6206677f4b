//! Creation of connections from grants.
//!
//! Two grants with the same stable account id are the same connection: connecting an account
//! again, or installing an app again under a new id, resumes at the stored cursors.

use std::borrow::Cow;

use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, LockType};
use sea_orm::{ColumnTrait, Condition, DbErr, QueryFilter, QueryOrder, QuerySelect, Select};
use serde_json::json;

use super::health::{refresh_health, report_connected};
use super::{Connection, ConnectionStatus, get, update};
use crate::crypto::sha256;
use crate::db::activity;
use crate::db::entities::connections::{ActiveModel, Column, Entity};
use crate::db::orm::{Scoped, insert_computed, now};
use crate::db::{DbError, Json, TenantScope, Tx, sanitize, sanitize_all};
use crate::model::{ConnectionId, ExternalAccount};

/// A proved grant to store as a connection.
#[derive(Debug, Clone)]
pub struct NewConnection<'a> {
    /// The provider's slug.
    pub provider: &'a str,
    /// The account that was granted.
    pub account: &'a ExternalAccount,
    /// Scopes or permissions, as the provider names them.
    pub scopes: &'a [String],
    /// Whether only one tenant may connect the account at a time.
    pub exclusive: bool,
    /// Whether the provider can be polled.
    pub polling: bool,
    /// The poll interval of a new connection; an existing one keeps its own.
    pub poll_interval_seconds: i32,
    /// The provider's id of the person whose administration of the account was proved.
    pub administrator: Option<&'a str>,
    /// The identity of the grant at the provider, if other connections may share it.
    pub grant_key: Option<&'a str>,
}

/// A grant that has become a connection.
#[derive(Debug)]
pub struct Connected {
    /// The connection, active.
    pub connection: Connection,
    /// Whether it existed before and resumes.
    pub resumed: bool,
}

/// The reason why a grant cannot become a connection; the transaction must be rolled back.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The account already belongs to another connection.
    #[error("account belongs to another connection")]
    AccountTaken,
    /// The grant is being ended at the provider, with all of its tokens.
    #[error("grant is being ended")]
    GrantEnding,
    /// The statement failed for another reason.
    #[error("failed to store connection")]
    Db(#[from] DbError),
}

impl ConnectError {
    fn of_statement(error: DbError) -> Self {
        match error.constraint() {
            Some("connection_routes_exclusive" | "connections_account_once") => Self::AccountTaken,
            _ => Self::Db(error),
        }
    }
}

impl From<sqlx::Error> for ConnectError {
    fn from(error: sqlx::Error) -> Self {
        Self::of_statement(error.into())
    }
}

impl From<DbErr> for ConnectError {
    fn from(error: DbErr) -> Self {
        Self::of_statement(error.into())
    }
}

/// Stores a grant as a connection, or resumes the account's existing connection.
pub async fn connect(
    tx: &mut Tx,
    scope: &TenantScope,
    new: &NewConnection<'_>,
) -> Result<Connected, ConnectError> {
    let existing = lock_existing(tx, scope, new).await?;
    let id = match existing {
        Some(id) => {
            resume(tx, scope, id, new).await?;
            id
        }
        None => insert(tx, scope, new).await?,
    };
    route(tx, scope, id, new, existing.is_some()).await?;
    load_connected(tx, scope, id, existing.is_some()).await
}

/// Activates a pending connection with the grant that it waited for.
///
/// If the tenant has the account connected already, that connection resumes and the pending one
/// ends. `None` when the connection is no longer pending or waits for another account.
pub async fn activate_pending(
    tx: &mut Tx,
    scope: &TenantScope,
    id: ConnectionId,
    new: &NewConnection<'_>,
) -> Result<Option<Connected>, ConnectError> {
    // Before the row lock, in the order of `pending::create_pending`.
    lock_account(tx, scope, new.provider, &new.account.stable_id).await?;
    let same_account = Condition::any()
        .add(Column::AccountStableId.is_null())
        .add(Column::AccountStableId.eq(&*sanitize(&new.account.stable_id)));
    let pending = of_provider(scope, new.provider)
        .filter(Column::Id.eq(id))
        .filter(Column::Status.eq(ConnectionStatus::Pending))
        .filter(same_account);
    if lock_first(tx, pending).await?.is_none() {
        return Ok(None);
    }
    let existing = lock_existing(tx, scope, new).await?;
    if existing.is_some_and(|existing| existing != id) {
        let ended = ActiveModel {
            status: Set(ConnectionStatus::Disconnected),
            status_reason: Set(Some("account_already_connected".to_owned())),
            ..Default::default()
        };
        update(scope, id)
            .set(ended)
            .col_expr(Column::UpdatedAt, now())
            .exec(&tx.orm())
            .await?;
        refresh_health(tx, scope, id).await?;
        return connect(tx, scope, new).await.map(Some);
    }
    resume(tx, scope, id, new).await?;
    route(tx, scope, id, new, false).await?;
    load_connected(tx, scope, id, false).await.map(Some)
}

/// Selects the tenant's connections at a provider.
pub(super) fn of_provider(scope: &TenantScope, provider: &str) -> Select<Entity> {
    Entity::scoped(scope).filter(Column::Provider.eq(provider))
}

/// Locks the first of the selected connections and returns its id.
pub(super) async fn lock_first(
    tx: &mut Tx,
    select: Select<Entity>,
) -> Result<Option<ConnectionId>, DbErr> {
    let first = select
        .select_only()
        .column(Column::Id)
        .lock(LockType::NoKeyUpdate);
    first.into_tuple().one(&tx.orm()).await
}

/// Locks the tenant's connection of the same account: active before pending before ended.
async fn lock_existing(
    tx: &mut Tx,
    scope: &TenantScope,
    new: &NewConnection<'_>,
) -> Result<Option<ConnectionId>, ConnectError> {
    lock_account(tx, scope, new.provider, &new.account.stable_id).await?;
    let existing = of_provider(scope, new.provider)
        .filter(Column::AccountStableId.eq(&*sanitize(&new.account.stable_id)))
        .order_by_asc(Column::Status.eq(ConnectionStatus::Disconnected))
        .order_by_asc(Column::Status.eq(ConnectionStatus::Pending))
        .order_by_desc(Column::Id);
    Ok(lock_first(tx, existing).await?)
}

/// Serializes the transactions that search and create the connection of an account.
pub(super) async fn lock_account(
    tx: &mut Tx,
    scope: &TenantScope,
    provider: &str,
    account: &str,
) -> Result<(), DbError> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))")
        .bind(json!(["connect", scope.tenant_id(), provider, sanitize(account)]).to_string())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn insert(
    tx: &mut Tx,
    scope: &TenantScope,
    new: &NewConnection<'_>,
) -> Result<ConnectionId, ConnectError> {
    let row = ActiveModel {
        tenant_id: Set(scope.tenant_id()),
        id: Set(ConnectionId::generate()),
        provider: Set(new.provider.to_owned()),
        poll_interval_seconds: Set(new.poll_interval_seconds),
        ..granted(new.account, new)
    };
    let proved_at = (Column::AdministratorProvedAt, proved_at(new));
    let row = insert_computed(&tx.orm(), row, proved_at, [Column::Id]).await?;
    Ok(row.try_get("", "id")?)
}

/// The columns of a grant.
fn granted(account: &ExternalAccount, new: &NewConnection<'_>) -> ActiveModel {
    let scopes = sanitize_all(new.scopes);
    ActiveModel {
        status: Set(ConnectionStatus::Active),
        account_id: Set(Some(sanitize(&account.id).into_owned())),
        account_name: Set(Some(sanitize(&account.name).into_owned())),
        account_stable_id: Set(Some(sanitize(&account.stable_id).into_owned())),
        settings: Set(Json(account.settings.clone())),
        scopes: Set(scopes.into_iter().map(Cow::into_owned).collect()),
        administrator: Set(new.administrator.map(|id| sanitize(id).into_owned())),
        ..Default::default()
    }
}

/// The time of the proof that the administrator administers the account.
fn proved_at(new: &NewConnection<'_>) -> Expr {
    new.administrator.map_or_else(Expr::null, |_| now())
}

async fn resume(
    tx: &mut Tx,
    scope: &TenantScope,
    id: ConnectionId,
    new: &NewConnection<'_>,
) -> Result<(), ConnectError> {
    let mut account = new.account.clone();
    if let Some(existing) = get(tx, scope, id)
        .await?
        .and_then(|existing| existing.account)
    {
        account.keep_resource_ids(&existing);
    }
    let resumed = ActiveModel {
        status_reason: Set(None),
        last_error: Set(None),
        pending_until: Set(None),
        ..granted(&account, new)
    };
    update(scope, id)
        .set(resumed)
        .col_expr(Column::UpdatedAt, now())
        .col_expr(Column::ConnectedAt, now())
        .col_expr(Column::AdministratorProvedAt, proved_at(new))
        .exec(&tx.orm())
        .await?;
    Ok(())
}

/// Updates the account's name and the connector's settings for it; its ids do not change.
pub async fn update_account(
    tx: &mut Tx,
    scope: &TenantScope,
    id: ConnectionId,
    account: &ExternalAccount,
) -> Result<(), DbError> {
    let updated = ActiveModel {
        account_name: Set(Some(sanitize(&account.name).into_owned())),
        settings: Set(Json(account.settings.clone())),
        ..Default::default()
    };
    update(scope, id)
        .set(updated)
        .col_expr(Column::UpdatedAt, now())
        .exec(&tx.orm())
        .await?;
    Ok(())
}

/// Locks a grant and returns whether a connection, of any tenant, uses it.
///
/// No connection begins to use it until the transaction ends, so that the caller can end an unused
/// grant at the provider before that.
pub async fn lock_grant(tx: &mut Tx, grant_key: &str) -> Result<bool, DbError> {
    let key = sha256(grant_key.as_bytes()).to_vec();
    // The key of the lock is that of `release_grant`.
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended(encode($1, 'hex'), 0))")
        .bind(&key)
        .execute(&mut **tx)
        .await?;
    Ok(sqlx::query_scalar("SELECT is_grant_used($1)")
        .bind(&key)
        .fetch_one(&mut **tx)
        .await?)
}

/// Fails if the grant is being ended, because its new tokens end as well.
///
/// Several connections may begin to use it at the same time.
async fn begin_to_use_grant(tx: &mut Tx, key: &[u8]) -> Result<(), ConnectError> {
    let is_free: bool = sqlx::query_scalar(
        "SELECT pg_try_advisory_xact_lock_shared(hashtextextended(encode($1, 'hex'), 0))",
    )
    .bind(key)
    .fetch_one(&mut **tx)
    .await?;
    if is_free {
        Ok(())
    } else {
        Err(ConnectError::GrantEnding)
    }
}

/// Ends a connection's use of its grant; returns whether another connection still uses it.
///
/// The grant must then not be revoked. The other connection may belong to another tenant.
pub async fn release_grant(
    tx: &mut Tx,
    scope: &TenantScope,
    id: ConnectionId,
) -> Result<bool, DbError> {
    Ok(sqlx::query_scalar("SELECT release_grant($1, $2)")
        .bind(scope.tenant_id())
        .bind(id)
        .fetch_one(&mut **tx)
        .await?)
}

/// Routes the account's deliveries to the connection and schedules its next poll.
///
/// Subscriptions of an earlier grant become due, because the end of a grant keeps their rows. The
/// caller enqueues the first read.
async fn route(
    tx: &mut Tx,
    scope: &TenantScope,
    id: ConnectionId,
    new: &NewConnection<'_>,
    is_resumed: bool,
) -> Result<(), ConnectError> {
    let grant_key = new.grant_key.map(|key| sha256(key.as_bytes()).to_vec());
    if let Some(key) = &grant_key {
        begin_to_use_grant(tx, key).await?;
    }
    sqlx::query(
        "INSERT INTO connection_routes (tenant_id, connection_id, provider, account_id, \
             exclusive, polling, poll_interval_seconds, grant_key, next_sync_at, \
             subscriptions_at) \
         SELECT tenant_id, id, provider, account_id, $3, $4, poll_interval_seconds, $5, \
             now() + poll_interval_seconds * interval '1 second', \
             CASE WHEN EXISTS (SELECT FROM subscriptions s \
                 WHERE s.tenant_id = $1 AND s.connection_id = $2) THEN now() END \
         FROM connections WHERE tenant_id = $1 AND id = $2 \
         ON CONFLICT (tenant_id, connection_id) DO UPDATE SET \
             account_id = excluded.account_id, exclusive = excluded.exclusive, \
             polling = excluded.polling, grant_key = excluded.grant_key, grant_released = false, \
             next_sync_at = excluded.next_sync_at, routed_at = now(), \
             subscriptions_at = now(), probe_at = NULL, probe_interval = NULL, \
             health_review_at = now()",
    )
    .bind(scope.tenant_id())
    .bind(id)
    .bind(new.exclusive)
    .bind(new.polling)
    .bind(grant_key)
    .execute(&mut **tx)
    .await?;
    activity::restart(tx, scope, id).await?;
    report_connected(tx, scope, id, new.provider, is_resumed).await?;
    refresh_health(tx, scope, id).await?;
    Ok(())
}

async fn load_connected(
    tx: &mut Tx,
    scope: &TenantScope,
    id: ConnectionId,
    resumed: bool,
) -> Result<Connected, ConnectError> {
    let connection = get(tx, scope, id)
        .await?
        .ok_or(DbError::Corrupt("connections"))?;
    Ok(Connected {
        connection,
        resumed,
    })
}
