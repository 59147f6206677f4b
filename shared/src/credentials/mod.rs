//! Tokens: sealed at rest, opened only to be used, renewed by one process at a time.
//!
//! Whoever needs a token asks here. A token that is about to end, or that a provider has
//! refused, is renewed under a lease in the connection's row: the others wait for the new
//! version instead of calling the provider. The new token is committed before anybody uses
//! it. No transaction stays open during the call.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use metrics::counter;
use secrecy::SecretString;

use crate::clock::SharedClock;
use crate::connectors::{
    Connector, ConnectorError, ExternalAccount, Grant, RefreshRequest, TokenSet,
};
use crate::crypto::{CryptoError, Keyring, SealContext};
use crate::db::credentials::{self as rows, NewSealed, RotationLease, SealedCredential};
use crate::db::{Db, DbError, TenantScope, Tx};
use crate::ids::ConnectionId;
use crate::telemetry::names;

/// How long one renewal may take before another process may try; longer than any call.
const LEASE: Duration = Duration::from_secs(45);
/// A token that ends sooner than this is renewed first.
const MARGIN: TimeDelta = TimeDelta::minutes(1);
/// How often a process that waits for another's renewal looks.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// A token that can be used now.
#[derive(Debug)]
pub struct AccessToken {
    /// The token.
    pub token: SecretString,
    /// Which of the connection's tokens it is; say so when the provider refuses it.
    pub version: i64,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The provider's answer, or its silence.
    #[error("the token was not renewed")]
    Provider(#[source] ConnectorError),
    /// The provider refuses the refresh token, and the answer to an earlier renewal, which
    /// may have held the next one, was lost.
    #[error("the grant is gone with a renewal whose answer was lost")]
    RotationLost(#[source] ConnectorError),
    /// The connection's tokens were erased.
    #[error("the connection has no credential")]
    Erased,
    /// Another process is renewing it, and has not ended in time.
    #[error("another process is renewing the token")]
    Busy,
    /// A stored token does not open: a missing key, or a row that was tampered with.
    #[error("a stored token does not open")]
    Sealed(#[source] CryptoError),
    /// Postgres did not answer.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Keeps and renews tokens.
#[derive(Clone)]
pub struct Credentials {
    db: Db,
    keyring: Arc<Keyring>,
    clock: SharedClock,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

impl Credentials {
    /// Keeps tokens in this database, under this keyring.
    pub const fn new(db: Db, keyring: Arc<Keyring>, clock: SharedClock) -> Self {
        Self { db, keyring, clock }
    }

    /// Stores the tokens of a new grant; without tokens, the first use makes one.
    pub async fn store(
        &self,
        tx: &mut Tx,
        scope: &TenantScope,
        connection: ConnectionId,
        tokens: Option<&TokenSet>,
    ) -> Result<(), DbError> {
        let sealed = tokens.map_or_else(NewSealed::default, |t| self.seal(scope, connection, t));
        rows::put(tx, scope, connection, &sealed).await
    }

    /// Deletes the tokens.
    pub async fn erase(
        &self,
        tx: &mut Tx,
        scope: &TenantScope,
        connection: ConnectionId,
    ) -> Result<(), DbError> {
        rows::erase(tx, scope, connection).await
    }

    /// The account and whatever tokens there are, to end the grant with.
    pub async fn grant(
        &self,
        scope: &TenantScope,
        connection: ConnectionId,
        account: ExternalAccount,
    ) -> Result<Grant, CredentialError> {
        let row = self.read(scope, connection).await?;
        let (access_token, refresh_token) = match row {
            None => (None, None),
            Some(row) => (
                self.open(
                    scope,
                    connection,
                    "access_token",
                    row.access_token.as_deref(),
                )?,
                self.open(
                    scope,
                    connection,
                    "refresh_token",
                    row.refresh_token.as_deref(),
                )?,
            ),
        };
        Ok(Grant {
            account,
            access_token,
            refresh_token,
        })
    }

    /// A token that is good for at least a minute. `refused` is the version that the
    /// provider has just answered 401 to: a newer one is got.
    pub async fn access_token(
        &self,
        scope: &TenantScope,
        connection: ConnectionId,
        account: &ExternalAccount,
        connector: &dyn Connector,
        refused: Option<i64>,
    ) -> Result<AccessToken, CredentialError> {
        let attempts = LEASE.as_millis() / LOOK_AGAIN.as_millis();
        for _ in 0..attempts {
            let row = self
                .read(scope, connection)
                .await?
                .ok_or(CredentialError::Erased)?;
            if let Some(token) = self.usable(scope, connection, &row, refused)? {
                return Ok(token);
            }
            let mut tx = self.db.begin(scope).await?;
            let leased =
                rows::lease(&mut tx, scope, connection, row.version, LEASE.as_secs_f64()).await?;
            tx.commit().await.map_err(DbError::from)?;
            if let Some(lease) = leased {
                return self
                    .renew(scope, connection, account, connector, row, lease)
                    .await;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Err(CredentialError::Busy)
    }

    fn usable(
        &self,
        scope: &TenantScope,
        connection: ConnectionId,
        row: &SealedCredential,
        refused: Option<i64>,
    ) -> Result<Option<AccessToken>, CredentialError> {
        let fresh = row
            .expires_at
            .is_none_or(|end| end > self.clock.now() + MARGIN);
        if !fresh || refused.is_some_and(|version| row.version <= version) {
            return Ok(None);
        }
        let token = self.open(
            scope,
            connection,
            "access_token",
            row.access_token.as_deref(),
        )?;
        Ok(token.map(|token| AccessToken {
            token,
            version: row.version,
        }))
    }

    async fn renew(
        &self,
        scope: &TenantScope,
        connection: ConnectionId,
        account: &ExternalAccount,
        connector: &dyn Connector,
        row: SealedCredential,
        lease: RotationLease,
    ) -> Result<AccessToken, CredentialError> {
        let provider = connector.descriptor().slug;
        if lease.answer_lost {
            // Providers let the same refresh token pass again for a while.
            counter!(names::TOKEN_ROTATIONS_LOST_TOTAL, "provider" => provider).increment(1);
            tracing::warn!(
                provider,
                connection.id = %connection,
                "the answer to an earlier renewal was lost; the same token is tried again"
            );
        }
        let refresh_token = self.open(
            scope,
            connection,
            "refresh_token",
            row.refresh_token.as_deref(),
        )?;
        let request = RefreshRequest {
            account: account.clone(),
            refresh_token,
        };
        let answer = connector.refresh_token(request).await;
        let outcome = answer
            .as_ref()
            .map_or_else(ConnectorError::code, |_| "renewed");
        counter!(names::TOKEN_REFRESHES_TOTAL, "provider" => provider, "outcome" => outcome)
            .increment(1);
        let mut tx = self.db.begin(scope).await?;
        let renewed = match answer {
            Ok(tokens) => {
                let sealed = self.seal(scope, connection, &tokens);
                let version = rows::renew(&mut tx, scope, connection, lease.id, &sealed).await?;
                Ok((tokens.access_token, version))
            }
            Err(error) => {
                rows::release(&mut tx, scope, connection, lease.id, outcome).await?;
                let lost = lease.answer_lost && matches!(error, ConnectorError::Unauthorized(_));
                Err(if lost {
                    CredentialError::RotationLost(error)
                } else {
                    CredentialError::Provider(error)
                })
            }
        };
        tx.commit().await.map_err(DbError::from)?;
        match renewed? {
            (token, Some(version)) => Ok(AccessToken { token, version }),
            // The lease had passed on: another process has the newer token.
            (_, None) => Err(CredentialError::Busy),
        }
    }

    async fn read(
        &self,
        scope: &TenantScope,
        connection: ConnectionId,
    ) -> Result<Option<SealedCredential>, DbError> {
        let mut tx = self.db.begin(scope).await?;
        let row = rows::get(&mut tx, scope, connection).await?;
        if let Some(row) = &row {
            self.reseal(&mut tx, scope, connection, row).await?;
        }
        tx.commit().await?;
        Ok(row)
    }

    /// Moves a row to the current key when it is still under an older one: keys rotate
    /// while everything runs.
    async fn reseal(
        &self,
        tx: &mut Tx,
        scope: &TenantScope,
        connection: ConnectionId,
        row: &SealedCredential,
    ) -> Result<(), DbError> {
        let old = |sealed: &Option<Vec<u8>>| {
            sealed
                .as_deref()
                .is_some_and(|sealed| self.keyring.needs_reseal(sealed))
        };
        if !old(&row.access_token) && !old(&row.refresh_token) {
            return Ok(());
        }
        let again = |field: &'static str, sealed: Option<&[u8]>| {
            let opened = self.open(scope, connection, field, sealed).ok().flatten();
            opened.map(|token| {
                self.keyring
                    .seal(&context(scope, connection, field), &token)
            })
        };
        let tokens = NewSealed {
            access_token: again("access_token", row.access_token.as_deref()),
            refresh_token: again("refresh_token", row.refresh_token.as_deref()),
            ..NewSealed::default()
        };
        if tokens.access_token.is_some() == row.access_token.is_some()
            && tokens.refresh_token.is_some() == row.refresh_token.is_some()
        {
            rows::reseal(tx, scope, connection, row.version, &tokens).await?;
        }
        Ok(())
    }

    fn seal(&self, scope: &TenantScope, connection: ConnectionId, tokens: &TokenSet) -> NewSealed {
        let seal = |field: &'static str, token: &SecretString| {
            self.keyring.seal(&context(scope, connection, field), token)
        };
        NewSealed {
            access_token: Some(seal("access_token", &tokens.access_token)),
            refresh_token: tokens
                .refresh_token
                .as_ref()
                .map(|token| seal("refresh_token", token)),
            expires_at: tokens.expires_at,
            refresh_expires_at: tokens.refresh_expires_at,
        }
    }

    fn open(
        &self,
        scope: &TenantScope,
        connection: ConnectionId,
        field: &'static str,
        sealed: Option<&[u8]>,
    ) -> Result<Option<SecretString>, CredentialError> {
        sealed
            .map(|sealed| {
                self.keyring
                    .open(&context(scope, connection, field), sealed)
            })
            .transpose()
            .map_err(CredentialError::Sealed)
    }
}

const fn context(
    scope: &TenantScope,
    connection: ConnectionId,
    field: &'static str,
) -> SealContext<'static> {
    SealContext {
        tenant: scope.tenant_id(),
        connection: connection.0,
        field,
    }
}
