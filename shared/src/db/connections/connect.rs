//! Creation of connections from grants.
//!
//! Two grants with the same stable account id are the same connection: connecting an account
//! again, or installing an app again under a new id, resumes at the stored cursors.

use serde_json::json;

use super::{Connection, get};
use crate::crypto::sha256;
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
    /// The statement failed for another reason.
    #[error("failed to store connection")]
    Db(#[from] DbError),
}

impl From<sqlx::Error> for ConnectError {
    fn from(error: sqlx::Error) -> Self {
        let error = DbError::from(error);
        match error.constraint() {
            Some("connection_routes_exclusive" | "connections_account_once") => Self::AccountTaken,
            _ => Self::Db(error),
        }
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
    route(tx, scope, id, new).await?;
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
    // Before the row lock, in the order of `create_pending`.
    lock_account(tx, scope, new.provider, &new.account.stable_id).await?;
    let pending = sqlx::query(
        "SELECT 1 FROM connections \
         WHERE tenant_id = $1 AND id = $2 AND status = 'pending' AND provider = $3 \
           AND coalesce(account_stable_id, $4) = $4 FOR NO KEY UPDATE",
    )
    .bind(scope.tenant_id())
    .bind(id)
    .bind(new.provider)
    .bind(sanitize(&new.account.stable_id))
    .fetch_optional(&mut **tx)
    .await?;
    if pending.is_none() {
        return Ok(None);
    }
    let existing = lock_existing(tx, scope, new).await?;
    if existing.is_some_and(|existing| existing != id) {
        sqlx::query(
            "UPDATE connections SET status = 'disconnected', updated_at = now(), \
                 status_reason = 'account_already_connected' \
             WHERE tenant_id = $1 AND id = $2",
        )
        .bind(scope.tenant_id())
        .bind(id)
        .execute(&mut **tx)
        .await?;
        return connect(tx, scope, new).await.map(Some);
    }
    resume(tx, scope, id, new).await?;
    route(tx, scope, id, new).await?;
    load_connected(tx, scope, id, false).await.map(Some)
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
    let existing: Option<ConnectionId> = sqlx::query_scalar(
        "SELECT id FROM connections \
         WHERE tenant_id = $1 AND provider = $2 AND status <> 'disconnected' AND ( \
             account_stable_id = $3 \
             OR (status = 'pending' AND id = $4 \
                 AND (account_stable_id IS NULL OR $3::text IS NULL)) \
             OR (status = 'pending' AND requester = $5 \
                 AND account_stable_id IS NULL AND $3::text IS NULL)) \
         ORDER BY status = 'pending', id = $4 DESC, id LIMIT 1 FOR NO KEY UPDATE",
    )
    .bind(scope.tenant_id())
    .bind(new.provider)
    .bind(stable_id.as_deref())
    .bind(new.existing)
    .bind(sanitize(new.requester))
    .fetch_optional(&mut **tx)
    .await?;
    let id = if let Some(id) = existing {
        sqlx::query(
            "UPDATE connections SET account_stable_id = coalesce(account_stable_id, $3), \
                 account_name = coalesce(account_name, $4), updated_at = now(), \
                 pending_until = now() + make_interval(days => $5) \
             WHERE tenant_id = $1 AND id = $2 AND status = 'pending'",
        )
        .bind(scope.tenant_id())
        .bind(id)
        .bind(stable_id)
        .bind(name)
        .bind(new.days)
        .execute(&mut **tx)
        .await?;
        id
    } else {
        sqlx::query_scalar(
            "INSERT INTO connections \
                 (tenant_id, id, provider, status, status_reason, requester, account_stable_id, \
                  account_name, poll_interval_seconds, pending_until) \
             VALUES ($1, $2, $3, 'pending', 'awaiting_approval', $4, $5, $6, $7, \
                     now() + make_interval(days => $8)) RETURNING id",
        )
        .bind(scope.tenant_id())
        .bind(ConnectionId::generate())
        .bind(new.provider)
        .bind(sanitize(new.requester))
        .bind(stable_id)
        .bind(name)
        .bind(new.poll_interval_seconds)
        .bind(new.days)
        .fetch_one(&mut **tx)
        .await?
    };
    get(tx, scope, id)
        .await?
        .ok_or(DbError::Corrupt("connections"))
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
    let named = sqlx::query(
        "UPDATE connections SET account_stable_id = $3, account_name = $4, updated_at = now() \
         WHERE tenant_id = $1 AND id = $2 AND status = 'pending' AND account_stable_id IS NULL",
    )
    .bind(scope.tenant_id())
    .bind(id)
    .bind(sanitize(&account.stable_id))
    .bind(sanitize(&account.name))
    .execute(&mut **tx)
    .await?;
    Ok(named.rows_affected() == 1)
}

/// Locks the tenant's connection of the same account: active before pending before ended.
async fn lock_existing(
    tx: &mut Tx,
    scope: &TenantScope,
    new: &NewConnection<'_>,
) -> Result<Option<ConnectionId>, ConnectError> {
    lock_account(tx, scope, new.provider, &new.account.stable_id).await?;
    let existing = sqlx::query_scalar(
        "SELECT id FROM connections \
         WHERE tenant_id = $1 AND provider = $2 AND account_stable_id = $3 \
         ORDER BY status = 'disconnected', status = 'pending', id DESC LIMIT 1 FOR NO KEY UPDATE",
    )
    .bind(scope.tenant_id())
    .bind(new.provider)
    .bind(sanitize(&new.account.stable_id))
    .fetch_optional(&mut **tx)
    .await?;
    Ok(existing)
}

/// Serializes the transactions that search and create the connection of an account.
async fn lock_account(
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
    let id = sqlx::query_scalar(
        "INSERT INTO connections (tenant_id, id, provider, status, account_id, account_name, \
             account_stable_id, settings, scopes, poll_interval_seconds, administrator, \
             administrator_proved_at) \
         VALUES ($1, $2, $3, 'active', $4, $5, $6, $7, $8, $9, $10, \
             CASE WHEN $10::text IS NOT NULL THEN now() END) RETURNING id",
    )
    .bind(scope.tenant_id())
    .bind(ConnectionId::generate())
    .bind(new.provider)
    .bind(sanitize(&new.account.id))
    .bind(sanitize(&new.account.name))
    .bind(sanitize(&new.account.stable_id))
    .bind(Json(&new.account.settings))
    .bind(sanitize_all(new.scopes))
    .bind(new.poll_interval_seconds)
    .bind(new.administrator.map(sanitize))
    .fetch_one(&mut **tx)
    .await?;
    Ok(id)
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
    sqlx::query(
        "UPDATE connections SET status = 'active', status_reason = NULL, account_id = $3, \
             account_name = $4, account_stable_id = $5, settings = $6, scopes = $7, \
             last_error = NULL, updated_at = now(), connected_at = now(), pending_until = NULL, \
             administrator = $8, \
             administrator_proved_at = CASE WHEN $8::text IS NOT NULL THEN now() END \
         WHERE tenant_id = $1 AND id = $2",
    )
    .bind(scope.tenant_id())
    .bind(id)
    .bind(sanitize(&account.id))
    .bind(sanitize(&account.name))
    .bind(sanitize(&account.stable_id))
    .bind(Json(&account.settings))
    .bind(sanitize_all(new.scopes))
    .bind(new.administrator.map(sanitize))
    .execute(&mut **tx)
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
    sqlx::query(
        "UPDATE connections SET account_name = $3, settings = $4, updated_at = now() \
         WHERE tenant_id = $1 AND id = $2",
    )
    .bind(scope.tenant_id())
    .bind(id)
    .bind(sanitize(&account.name))
    .bind(Json(&account.settings))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Returns whether a connection, of any tenant, uses a grant.
pub async fn is_grant_used(tx: &mut Tx, grant_key: &str) -> Result<bool, DbError> {
    Ok(sqlx::query_scalar("SELECT is_grant_used($1)")
        .bind(sha256(grant_key.as_bytes()).to_vec())
        .fetch_one(&mut **tx)
        .await?)
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
) -> Result<(), ConnectError> {
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
             subscriptions_at = now(), probe_at = NULL, probe_interval = NULL",
    )
    .bind(scope.tenant_id())
    .bind(id)
    .bind(new.exclusive)
    .bind(new.polling)
    .bind(new.grant_key.map(|key| sha256(key.as_bytes()).to_vec()))
    .execute(&mut **tx)
    .await?;
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
