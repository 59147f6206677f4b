//! Access tokens: sealed at rest, decrypted for use, refreshed by one process at a time.
//!
//! A token that is about to expire, or that a provider has refused, is refreshed under a lease in
//! the connection's row. Other processes wait for the new version instead of calling the provider.
//! Within a process all callers wait for one refresh task, which outlives the job that started it
//! and which a shutdown waits for. The new token is committed before its first use. No transaction
//! is open during the call to the provider. The provider's quota of refreshes is counted in the
//! token refresh log, which all processes share.

mod single_flight;

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use metrics::counter;
use secrecy::SecretString;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use self::single_flight::{Flight, SingleFlight};
use crate::clock::SharedClock;
use crate::connectors::{Connector, ConnectorError, Grant, RefreshRequest, TokenPolicy, TokenSet};
use crate::crypto::{CryptoError, Keyring, SealContext};
use crate::db::credentials::{
    self as rows, CredentialKey, NewSealed, RefreshLease, SealedCredential,
};
use crate::db::{Db, DbError, TenantScope, Tx};
use crate::model::{ConnectionId, ExternalAccount, LimitScope, TokenHolder};
use crate::telemetry::names;

/// The time before another process may try a refresh; longer than any call.
const LEASE_TTL: Duration = Duration::from_secs(45);
/// A token that expires sooner than this is refreshed before use.
const EXPIRY_MARGIN: TimeDelta = TimeDelta::minutes(1);
/// Pauses between checks of another process's refresh; each is twice as long as the one before.
const MIN_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_millis(500);
/// Refreshes of other callers that a caller waits for in a row.
const MAX_SHARED_REFRESHES: usize = 3;

/// A valid access token.
#[derive(Debug)]
pub struct AccessToken {
    /// The token.
    pub token: SecretString,
    /// Its version; pass it to [`Credentials::access_token`] when the provider refuses the token.
    pub version: i64,
    /// The user token, where there is one.
    pub user_token: Option<SecretString>,
    has_user_token: bool,
}

/// The reason why a token is not available.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The refresh failed at the provider, or the provider did not respond.
    #[error("failed to refresh access token")]
    Provider(#[source] ConnectorError),
    /// The provider refused the refresh token after the response to an earlier refresh was lost.
    ///
    /// The lost response may have contained the next refresh token.
    #[error("failed to refresh access token after a lost refresh response")]
    RefreshResponseLost(#[source] ConnectorError),
    /// The connection has no tokens, or they were erased.
    #[error("connection has no credential")]
    NotFound,
    /// Another process has not finished its refresh of the token in time.
    #[error("access token is being refreshed by another process")]
    Busy,
    /// A stored token cannot be decrypted: a missing key, or a manipulated row.
    #[error("failed to decrypt stored token")]
    Decrypt(#[source] CryptoError),
    /// A database operation failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// The credential store: stores, decrypts and refreshes tokens.
#[derive(Clone)]
pub struct Credentials {
    db: Db,
    keyring: Arc<Keyring>,
    clock: SharedClock,
    tasks: TaskTracker,
    refreshes: SingleFlight,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

impl Credentials {
    /// Creates a store on a database and a keyring.
    ///
    /// Refreshes run as `tasks`, which the process waits for at shutdown.
    pub fn new(db: Db, keyring: Arc<Keyring>, clock: SharedClock, tasks: TaskTracker) -> Self {
        Self {
            db,
            keyring,
            clock,
            tasks,
            refreshes: SingleFlight::default(),
        }
    }

    /// Stores the tokens of a new grant; without tokens, the first use obtains one.
    pub async fn store(
        &self,
        tx: &mut Tx,
        scope: &TenantScope,
        connection: ConnectionId,
        policy: TokenPolicy,
        tokens: Option<&TokenSet>,
        user_token: Option<&TokenSet>,
    ) -> Result<(), DbError> {
        let key = account_key(connection);
        let sealed = tokens.map_or_else(NewSealed::default, |t| self.seal(scope, key, policy, t));
        rows::put(tx, scope, key, &sealed).await?;
        let key = user_token_key(connection);
        match user_token {
            Some(tokens) => {
                let sealed = self.seal(scope, key, policy, tokens);
                rows::put(tx, scope, key, &sealed).await
            }
            None => rows::erase(tx, scope, key).await,
        }
    }

    /// Deletes every token of a connection.
    pub async fn erase(
        &self,
        tx: &mut Tx,
        scope: &TenantScope,
        connection: ConnectionId,
    ) -> Result<(), DbError> {
        rows::erase(tx, scope, account_key(connection)).await?;
        self.erase_user_token(tx, scope, connection).await
    }

    /// Deletes the user token; the account's tokens are kept.
    pub async fn erase_user_token(
        &self,
        tx: &mut Tx,
        scope: &TenantScope,
        connection: ConnectionId,
    ) -> Result<(), DbError> {
        rows::erase(tx, scope, user_token_key(connection)).await
    }

    /// Returns the account and its tokens, with which the grant can be revoked.
    pub async fn grant(
        &self,
        scope: &TenantScope,
        connection: ConnectionId,
        account: ExternalAccount,
    ) -> Result<Grant, CredentialError> {
        let key = account_key(connection);
        let row = self.read(scope, key).await?;
        let (access_token, refresh_token) = match row {
            None => (None, None),
            Some(row) => (
                self.open(scope, key, "access_token", row.access_token.as_deref())?,
                self.open(scope, key, "refresh_token", row.refresh_token.as_deref())?,
            ),
        };
        Ok(Grant {
            account,
            access_token,
            refresh_token,
        })
    }

    /// Returns tokens that are valid for at least a minute.
    ///
    /// `refused` is the version to which the provider has responded 401; a newer one is returned.
    pub async fn access_token(
        &self,
        scope: &TenantScope,
        connection: ConnectionId,
        account: &ExternalAccount,
        connector: &Arc<dyn Connector>,
        refused: Option<i64>,
    ) -> Result<AccessToken, CredentialError> {
        let request = CredentialRequest {
            scope: *scope,
            key: account_key(connection),
            account: account.clone(),
            connector: Arc::clone(connector),
        };
        let mut token = self.resolve_token(&request, refused).await?;
        if token.has_user_token {
            let key = user_token_key(connection);
            let request = CredentialRequest { key, ..request };
            token.user_token = self.resolve_user_token(&request).await?;
        }
        Ok(token)
    }

    /// Returns the user token, if it is available.
    ///
    /// It is optional: without it, reads use the account's token only.
    async fn resolve_user_token(
        &self,
        request: &CredentialRequest,
    ) -> Result<Option<SecretString>, CredentialError> {
        let error = match self.resolve_token(request, None).await {
            Ok(token) => return Ok(Some(token.token)),
            Err(CredentialError::NotFound) => return Ok(None),
            Err(error) => error,
        };
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            connection.id = %request.key.connection,
            "user token not available, continuing with the account token"
        );
        Ok(None)
    }

    async fn resolve_token(
        &self,
        request: &CredentialRequest,
        refused: Option<i64>,
    ) -> Result<AccessToken, CredentialError> {
        let CredentialRequest { scope, key, .. } = request;
        for _ in 0..MAX_SHARED_REFRESHES {
            let row = self.read(scope, *key).await?;
            let row = row.ok_or(CredentialError::NotFound)?;
            if let Some(token) = self.usable(scope, *key, &row, refused)? {
                return Ok(token);
            }
            match self.refreshes.join(scope.tenant_id(), *key) {
                Flight::Lead(leader) => {
                    let (this, request) = (self.clone(), request.clone());
                    let refresh = async move {
                        let result = this.refresh(&request, refused).await;
                        leader.finish(result.is_ok());
                        result
                    };
                    let span = tracing::Span::current();
                    return match self.tasks.spawn(refresh.instrument(span)).await {
                        Ok(result) => result,
                        Err(error) if error.is_panic() => {
                            std::panic::resume_unwind(error.into_panic())
                        }
                        Err(_) => Err(CredentialError::Busy),
                    };
                }
                // The leader reports why the refresh failed; the followers try again later.
                Flight::Follow(follower) => {
                    if !follower.wait_for_success().await {
                        return Err(CredentialError::Busy);
                    }
                }
            }
        }
        Err(CredentialError::Busy)
    }

    /// Refreshes a token, or waits for the process that refreshes it.
    async fn refresh(
        &self,
        request: &CredentialRequest,
        refused: Option<i64>,
    ) -> Result<AccessToken, CredentialError> {
        let CredentialRequest { scope, key, .. } = request;
        let deadline = Instant::now() + LEASE_TTL;
        let mut pause = MIN_PAUSE;
        while Instant::now() < deadline {
            let mut tx = self.db.begin(scope).await?;
            let row = rows::get(&mut tx, scope, *key).await?;
            let row = row.ok_or(CredentialError::NotFound)?;
            if let Some(token) = self.usable(scope, *key, &row, refused)? {
                return Ok(token);
            }
            let seconds = LEASE_TTL.as_secs_f64();
            let lease =
                rows::acquire_refresh_lease(&mut tx, scope, *key, row.version, seconds).await?;
            if lease.is_some() {
                // The lease, which counts this refresh, is rolled back with the transaction.
                verify_quota(&mut tx, request).await?;
            }
            tx.commit().await.map_err(DbError::from)?;
            if let Some(lease) = lease {
                return self.refresh_with_lease(request, row, lease).await;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
        Err(CredentialError::Busy)
    }

    fn usable(
        &self,
        scope: &TenantScope,
        key: CredentialKey,
        row: &SealedCredential,
        refused: Option<i64>,
    ) -> Result<Option<AccessToken>, CredentialError> {
        let fresh = row
            .expires_at
            .is_none_or(|end| end > self.clock.now() + EXPIRY_MARGIN);
        if !fresh || refused.is_some_and(|version| row.version <= version) {
            return Ok(None);
        }
        let token = self.open(scope, key, "access_token", row.access_token.as_deref())?;
        Ok(token.map(|token| AccessToken {
            token,
            version: row.version,
            user_token: None,
            has_user_token: row.has_user_token,
        }))
    }

    async fn refresh_with_lease(
        &self,
        request: &CredentialRequest,
        row: SealedCredential,
        lease: RefreshLease,
    ) -> Result<AccessToken, CredentialError> {
        let CredentialRequest { scope, key, .. } = request;
        let key = *key;
        let provider = request.connector.descriptor().slug;
        if lease.response_lost {
            // Providers accept a used refresh token for a grace period.
            counter!(names::TOKEN_REFRESH_LOST_RESPONSES_TOTAL, "provider" => provider)
                .increment(1);
            tracing::warn!(
                provider,
                connection.id = %key.connection,
                "response to an earlier token refresh was lost, trying the same refresh token again"
            );
        }
        let access_token = self.open(scope, key, "access_token", row.access_token.as_deref())?;
        let refresh_token = self.open(scope, key, "refresh_token", row.refresh_token.as_deref())?;
        let refresh = RefreshRequest {
            account: request.account.clone(),
            access_token,
            refresh_token,
        };
        let response = request.connector.refresh_token(refresh).await;
        let outcome = response
            .as_ref()
            .map_or_else(ConnectorError::code, |_| "renewed");
        counter!(names::TOKEN_REFRESHES_TOTAL, "provider" => provider, "outcome" => outcome)
            .increment(1);
        let version = self.record(request, &lease, &response).await?;
        match response {
            Ok(tokens) => Ok(AccessToken {
                token: tokens.access_token,
                // Without a version the lease was lost: another process has the newer token.
                version: version.ok_or(CredentialError::Busy)?,
                user_token: None,
                has_user_token: row.has_user_token,
            }),
            Err(error)
                if lease.response_lost && matches!(error, ConnectorError::GrantRevoked(_)) =>
            {
                Err(CredentialError::RefreshResponseLost(error))
            }
            Err(error) => Err(CredentialError::Provider(error)),
        }
    }

    /// Stores the provider's response, fenced by the lease; returns the version of new tokens.
    ///
    /// Many providers accept a refresh token once, so new tokens exist nowhere else. While Postgres
    /// is unavailable, this retries until the lease expires.
    async fn record(
        &self,
        request: &CredentialRequest,
        lease: &RefreshLease,
        response: &Result<TokenSet, ConnectorError>,
    ) -> Result<Option<i64>, DbError> {
        let deadline = Instant::now() + LEASE_TTL;
        let mut pause = MIN_PAUSE;
        loop {
            match self.record_once(request, lease, response).await {
                Err(error) if error.is_unavailable() && Instant::now() + pause < deadline => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        connection.id = %request.key.connection,
                        "failed to store token refresh, trying again"
                    );
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(MAX_PAUSE);
                }
                result => return result,
            }
        }
    }

    async fn record_once(
        &self,
        request: &CredentialRequest,
        lease: &RefreshLease,
        response: &Result<TokenSet, ConnectorError>,
    ) -> Result<Option<i64>, DbError> {
        let (scope, key) = (&request.scope, request.key);
        let policy = request.connector.descriptor().tokens;
        let mut tx = self.db.begin(scope).await?;
        let version = match response {
            Ok(tokens) => {
                let sealed = self.seal(scope, key, policy, tokens);
                rows::store_refreshed(&mut tx, scope, key, lease.id, &sealed).await?
            }
            // Account tokens are kept: the connection's status records the end of the grant.
            Err(ConnectorError::GrantRevoked(_)) if key.holder == TokenHolder::UserToken => {
                rows::erase_leased(&mut tx, scope, key, lease.id).await?;
                None
            }
            Err(error) => {
                rows::release_refresh_lease(&mut tx, scope, key, lease.id, error.code()).await?;
                None
            }
        };
        tx.commit().await?;
        Ok(version)
    }

    async fn read(
        &self,
        scope: &TenantScope,
        key: CredentialKey,
    ) -> Result<Option<SealedCredential>, DbError> {
        let mut tx = self.db.begin(scope).await?;
        let row = rows::get(&mut tx, scope, key).await?;
        tx.end_read();
        Ok(row)
    }

    fn seal(
        &self,
        scope: &TenantScope,
        key: CredentialKey,
        policy: TokenPolicy,
        tokens: &TokenSet,
    ) -> NewSealed {
        let seal = |field: &'static str, token: &SecretString| {
            self.keyring.seal(&context(scope, key, field), token)
        };
        NewSealed {
            access_token: Some(seal("access_token", &tokens.access_token)),
            refresh_token: tokens
                .refresh_token
                .as_ref()
                .map(|token| seal("refresh_token", token)),
            expires_at: tokens.expires_at,
            refresh_at: tokens.expires_at.map(|end| end - policy.refresh_before),
            refresh_expires_at: tokens.refresh_expires_at,
        }
    }

    fn open(
        &self,
        scope: &TenantScope,
        key: CredentialKey,
        field: &'static str,
        sealed: Option<&[u8]>,
    ) -> Result<Option<SecretString>, CredentialError> {
        sealed
            .map(|sealed| self.keyring.open(&context(scope, key, field), sealed))
            .transpose()
            .map_err(CredentialError::Decrypt)
    }
}

/// A request for a token, with the connector that can refresh it.
#[derive(Clone)]
struct CredentialRequest {
    scope: TenantScope,
    key: CredentialKey,
    account: ExternalAccount,
    connector: Arc<dyn Connector>,
}

/// Refuses a refresh that exceeds the provider's quota, with the time of the next one.
async fn verify_quota(tx: &mut Tx, request: &CredentialRequest) -> Result<(), CredentialError> {
    let Some(quota) = request.connector.descriptor().tokens.quota else {
        return Ok(());
    };
    let (refreshes, window) = (i64::from(quota.refreshes), quota.window.as_secs_f64());
    let CredentialRequest { scope, key, .. } = request;
    match rows::quota_exceeded_until(tx, scope, *key, refreshes, window).await? {
        None => Ok(()),
        Some(retry_at) => Err(CredentialError::Provider(ConnectorError::RateLimited {
            retry_at,
            scope: LimitScope::Account,
            operation: "refresh_token",
            source: "the quota of token refreshes is used up".into(),
        })),
    }
}

const fn account_key(connection: ConnectionId) -> CredentialKey {
    CredentialKey {
        connection,
        holder: TokenHolder::Account,
    }
}

const fn user_token_key(connection: ConnectionId) -> CredentialKey {
    CredentialKey {
        connection,
        holder: TokenHolder::UserToken,
    }
}

/// The context that a sealed token is bound to: it cannot be decrypted in another row or column.
fn context(scope: &TenantScope, key: CredentialKey, field: &'static str) -> SealContext<'static> {
    let field = match (key.holder, field) {
        (TokenHolder::UserToken, "access_token") => "user_access_token",
        (TokenHolder::UserToken, _) => "user_refresh_token",
        (TokenHolder::Account, field) => field,
    };
    SealContext {
        tenant: scope.tenant_id(),
        connection: key.connection.0,
        field,
    }
}
