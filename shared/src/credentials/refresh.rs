//! The refresh of a token: one call to the provider, for any number of callers and processes.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use metrics::counter;
use secrecy::SecretString;
use tokio::time::Instant;
use tracing::Instrument;

use super::single_flight::Flight;
use super::{CredentialError, Credentials};
use crate::connectors::{Connector, ConnectorError, RefreshRequest, TokenSet};
use crate::db::credentials::{self as rows, CredentialKey, RefreshLease, SealedCredential};
use crate::db::{DbError, TenantScope, Tx};
use crate::model::{ExternalAccount, LimitScope, TokenHolder};
use crate::telemetry::names;

/// The time before another process may try a refresh; longer than any call.
const LEASE_TTL: Duration = Duration::from_secs(45);
/// A token that expires sooner than this is refreshed before use.
const EXPIRY_MARGIN: TimeDelta = TimeDelta::minutes(1);
/// The first pause between checks of another process's refresh; each next one is twice as long.
const MIN_PAUSE: Duration = Duration::from_millis(50);
/// The longest of these pauses.
const MAX_PAUSE: Duration = Duration::from_millis(500);
/// Refreshes of other callers that a caller waits for in a row.
const MAX_SHARED_REFRESHES: usize = 3;

/// A request for one holder's token, with the connector that can refresh it.
#[derive(Clone)]
pub(super) struct CredentialRequest {
    pub(super) scope: TenantScope,
    pub(super) key: CredentialKey,
    pub(super) account: ExternalAccount,
    pub(super) connector: Arc<dyn Connector>,
}

/// A valid access token of one holder.
pub(super) struct ResolvedToken {
    pub(super) token: SecretString,
    pub(super) version: i64,
    /// The person whose user token the connection has as well.
    pub(super) user_id: Option<String>,
}

impl Credentials {
    /// Returns a token, if it is available; without it, reads use the account's token only.
    pub(super) async fn resolve_optional(
        &self,
        request: &CredentialRequest,
    ) -> Option<SecretString> {
        let error = match self.resolve(request, None).await {
            Ok(resolved) => return Some(resolved.token),
            Err(CredentialError::NotFound) => return None,
            Err(error) => error,
        };
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            connection.id = %request.key.connection,
            "user token not available, continuing with the account token"
        );
        None
    }

    /// Returns a token that is valid for at least a minute, and newer than the `rejected` version.
    pub(super) async fn resolve(
        &self,
        request: &CredentialRequest,
        rejected: Option<i64>,
    ) -> Result<ResolvedToken, CredentialError> {
        let CredentialRequest { scope, key, .. } = request;
        for _ in 0..MAX_SHARED_REFRESHES {
            let row = self.read(scope, key).await?;
            let row = row.ok_or(CredentialError::NotFound)?;
            if let Some(token) = self.usable(scope, key, &row, rejected)? {
                return Ok(token);
            }
            match self.refreshes.join(scope.tenant_id(), key) {
                Flight::Lead(leader) => {
                    let (this, request) = (self.clone(), request.clone());
                    let refresh = async move {
                        let result = this.refresh(&request, rejected).await;
                        leader.finish(result.as_ref().err());
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
                Flight::Follow(follower) => follower.wait().await?,
            }
        }
        Err(CredentialError::Busy)
    }

    /// Refreshes a token, or waits for the process that refreshes it.
    async fn refresh(
        &self,
        request: &CredentialRequest,
        rejected: Option<i64>,
    ) -> Result<ResolvedToken, CredentialError> {
        let CredentialRequest { scope, key, .. } = request;
        let deadline = Instant::now() + LEASE_TTL;
        let mut pause = MIN_PAUSE;
        while Instant::now() < deadline {
            let mut tx = self.db.begin(scope).await?;
            let row = rows::get(&mut tx, scope, key).await?;
            let row = row.ok_or(CredentialError::NotFound)?;
            if let Some(token) = self.usable(scope, key, &row, rejected)? {
                return Ok(token);
            }
            let seconds = LEASE_TTL.as_secs_f64();
            let lease =
                rows::acquire_refresh_lease(&mut tx, scope, key, row.version, seconds).await?;
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
        key: &CredentialKey,
        row: &SealedCredential,
        rejected: Option<i64>,
    ) -> Result<Option<ResolvedToken>, CredentialError> {
        let fresh = row
            .expires_at
            .is_none_or(|end| end > self.clock.now() + EXPIRY_MARGIN);
        if !fresh || rejected.is_some_and(|version| row.version <= version) {
            return Ok(None);
        }
        let token = self.open(scope, key, "access_token", row.access_token.as_deref())?;
        Ok(token.map(|token| ResolvedToken {
            token,
            version: row.version,
            user_id: row.user_id.clone(),
        }))
    }

    async fn refresh_with_lease(
        &self,
        request: &CredentialRequest,
        row: SealedCredential,
        lease: RefreshLease,
    ) -> Result<ResolvedToken, CredentialError> {
        let CredentialRequest { scope, key, .. } = request;
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
            Ok(tokens) => Ok(ResolvedToken {
                token: tokens.access_token,
                // Without a version the lease was lost: another process has the newer token.
                version: version.ok_or(CredentialError::Busy)?,
                user_id: row.user_id,
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
        let CredentialRequest { scope, key, .. } = request;
        let policy = request.connector.descriptor().tokens;
        let mut tx = self.db.begin(scope).await?;
        let version = match response {
            Ok(tokens) => {
                let sealed = self.seal(scope, key, policy, tokens);
                rows::store_refreshed(&mut tx, scope, key, lease.id, &sealed).await?
            }
            // Account tokens are kept: the connection's status records the end of the grant.
            Err(ConnectorError::GrantRevoked(_)) if key.holder != TokenHolder::Account => {
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
}

/// Rejects a refresh that exceeds the provider's quota, with the time of the next one.
async fn verify_quota(tx: &mut Tx, request: &CredentialRequest) -> Result<(), CredentialError> {
    let Some(quota) = request.connector.descriptor().tokens.quota else {
        return Ok(());
    };
    let (refreshes, window) = (i64::from(quota.refreshes), quota.window.as_secs_f64());
    let CredentialRequest { scope, key, .. } = request;
    match rows::quota_exceeded_until(tx, scope, key, refreshes, window).await? {
        None => Ok(()),
        Some(retry_at) => Err(CredentialError::Provider(ConnectorError::RateLimited {
            retry_at,
            scope: LimitScope::Account,
            operation: "refresh_token",
            source: "the quota of token refreshes is used up".into(),
        })),
    }
}
