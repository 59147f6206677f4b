//! How a grant becomes a connection.
//!
//! The account's stable id is what makes two grants the same connection: whoever connects
//! an account again, or installs an app again under a new id, goes on where the cursors
//! stand.

use serde_json::json;

use super::{Connection, get};
use crate::connectors::ExternalAccount;
use crate::db::{DbError, Json, TenantScope, Tx, storable, storable_all};
use crate::ids::ConnectionId;

/// A proved grant, to be kept as a connection.
#[derive(Debug, Clone)]
pub struct NewConnection<'a> {
    /// The provider's slug.
    pub provider: &'a str,
    /// The account that was granted.
    pub account: &'a ExternalAccount,
    /// Scopes or permissions, as the provider names them.
    pub scopes: &'a [String],
    /// Whether no other tenant may have the account at the same time.
    pub exclusive: bool,
    /// Whether the provider can be polled.
    pub polling: bool,
    /// How often a new connection is polled; a known one keeps its interval.
    pub poll_interval_seconds: i32,
    /// The provider's id of the person whose administration of the account was proved.
    pub administrator: Option<&'a str>,
}

/// A connection that waits for an administrator of its account.
#[derive(Debug, Clone)]
pub struct NewPending<'a> {
    /// The provider's slug.
    pub provider: &'a str,
    /// The provider's id of the person who asked.
    pub requester: &'a str,
    /// The account, where the provider has named it.
    pub account: Option<&'a ExternalAccount>,
    /// The pending connection that waits at the same link.
    pub known: Option<ConnectionId>,
    /// How often it is polled once it is active.
    pub poll_interval_seconds: i32,
    /// Days until the approval expires.
    pub days: i32,
}

/// A grant that has become a connection.
#[derive(Debug)]
pub struct Connected {
    /// The connection, active.
    pub connection: Connection,
    /// Whether it was known before and goes on.
    pub resumed: bool,
}

/// Why a grant does not become a connection. The transaction must be rolled back.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The account belongs to another connection already.
    #[error("the account belongs to another connection")]
    AccountTaken,
    /// The statement failed otherwise.
    #[error("the connection could not be stored")]
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

/// Makes a grant a connection, or lets the known connection of the same account go on.
pub async fn connect(
    tx: &mut Tx,
    scope: &TenantScope,
    new: &NewConnection<'_>,
) -> Result<Connected, ConnectError> {
    let known = lock_known(tx, scope, new).await?;
    let id = match known {
        Some(id) => {
            resume(tx, scope, id, new).await?;
            id
        }
        None => insert(tx, scope, new).await?,
    };
    route(tx, scope, id, new).await?;
    loaded(tx, scope, id, known.is_some()).await
}

/// Makes the grant that a pending connection waited for that connection. If the tenant had
/// the account connected all the while, that connection goes on and the pending one ends.
/// `None` when the connection is not pending any more or waits for another account.
pub async fn activate_pending(
    tx: &mut Tx,
    scope: &TenantScope,
    id: ConnectionId,
    new: &NewConnection<'_>,
) -> Result<Option<Connected>, ConnectError> {
    // Before the row is locked, as `create_pending` does.
    serialize(tx, scope, new.provider, &new.account.stable_id).await?;
    let pending = sqlx::query(
        "SELECT 1 FROM connections \
         WHERE tenant_id = $1 AND id = $2 AND status = 'pending' AND provider = $3 \
           AND coalesce(account_stable_id, $4) = $4 FOR NO KEY UPDATE",
    )
    .bind(scope.tenant_id())
    .bind(id)
    .bind(new.provider)
    .bind(storable(&new.account.stable_id))
    .fetch_optional(&mut **tx)
    .await?;
    if pending.is_none() {
        return Ok(None);
    }
    let known = lock_known(tx, scope, new).await?;
    if known.is_some_and(|known| known != id) {
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
    loaded(tx, scope, id, false).await.map(Some)
}

/// Creates the connection that waits for an administrator, or answers the one that waits for
/// the same already. An account that the tenant has connected stays as it is.
pub async fn create_pending(
    tx: &mut Tx,
    scope: &TenantScope,
    new: &NewPending<'_>,
) -> Result<Connection, DbError> {
    let stable_id = new.account.map(|account| storable(&account.stable_id));
    let name = new.account.map(|account| storable(&account.name));
    let account = stable_id.as_deref().unwrap_or(new.requester);
    serialize(tx, scope, new.provider, account).await?;
    let known: Option<ConnectionId> = sqlx::query_scalar(
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
    .bind(new.known)
    .bind(storable(new.requester))
    .fetch_optional(&mut **tx)
    .await?;
    let id = if let Some(id) = known {
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
        .bind(storable(new.requester))
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

/// Notes the account that a pending connection waits for, once the provider has named it.
/// Answers whether the connection waits and had none.
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
    .bind(storable(&account.stable_id))
    .bind(storable(&account.name))
    .execute(&mut **tx)
    .await?;
    Ok(named.rows_affected() == 1)
}

/// The tenant's connection of the same account, locked; a living one before one that waits,
/// that before an ended one.
async fn lock_known(
    tx: &mut Tx,
    scope: &TenantScope,
    new: &NewConnection<'_>,
) -> Result<Option<ConnectionId>, ConnectError> {
    serialize(tx, scope, new.provider, &new.account.stable_id).await?;
    let known = sqlx::query_scalar(
        "SELECT id FROM connections \
         WHERE tenant_id = $1 AND provider = $2 AND account_stable_id = $3 \
         ORDER BY status = 'disconnected', status = 'pending', id DESC LIMIT 1 FOR NO KEY UPDATE",
    )
    .bind(scope.tenant_id())
    .bind(new.provider)
    .bind(storable(&new.account.stable_id))
    .fetch_optional(&mut **tx)
    .await?;
    Ok(known)
}

/// Lets one transaction at a time look for and make the connection of an account.
async fn serialize(
    tx: &mut Tx,
    scope: &TenantScope,
    provider: &str,
    account: &str,
) -> Result<(), DbError> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))")
        .bind(json!(["connect", scope.tenant_id(), provider, storable(account)]).to_string())
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
    .bind(storable(&new.account.id))
    .bind(storable(&new.account.name))
    .bind(storable(&new.account.stable_id))
    .bind(Json(&new.account.settings))
    .bind(storable_all(new.scopes))
    .bind(new.poll_interval_seconds)
    .bind(new.administrator.map(storable))
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
    if let Some(known) = get(tx, scope, id).await?.and_then(|known| known.account) {
        account.keep_resource_ids(&known);
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
    .bind(storable(&account.id))
    .bind(storable(&account.name))
    .bind(storable(&account.stable_id))
    .bind(Json(&account.settings))
    .bind(storable_all(new.scopes))
    .bind(new.administrator.map(storable))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Writes down how the provider describes a connection's account now: its name, and what the
/// connector remembers of it. Its ids stay.
pub async fn describe_account(
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
    .bind(storable(&account.name))
    .bind(Json(&account.settings))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Routes the account's deliveries to the connection and has it polled, an interval from now:
/// its first read is the caller's to ask for.
async fn route(
    tx: &mut Tx,
    scope: &TenantScope,
    id: ConnectionId,
    new: &NewConnection<'_>,
) -> Result<(), ConnectError> {
    sqlx::query(
        "INSERT INTO connection_routes (tenant_id, connection_id, provider, account_id, \
             exclusive, polling, poll_interval_seconds, next_sync_at) \
         SELECT tenant_id, id, provider, account_id, $3, $4, poll_interval_seconds, \
             now() + poll_interval_seconds * interval '1 second' \
         FROM connections WHERE tenant_id = $1 AND id = $2 \
         ON CONFLICT (tenant_id, connection_id) DO UPDATE SET \
             account_id = excluded.account_id, exclusive = excluded.exclusive, \
             polling = excluded.polling, next_sync_at = excluded.next_sync_at, routed_at = now(), \
             subscriptions_at = now(), probe_at = NULL, probe_interval = NULL",
    )
    .bind(scope.tenant_id())
    .bind(id)
    .bind(new.exclusive)
    .bind(new.polling)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn loaded(
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
