//! Access tokens: sealed at rest, decrypted for use, refreshed by one process at a time.
//!
//! A connection has tokens of its account and, at some providers, of the person who connected it.
//! Both holders' tokens are stored, refreshed and erased in the same way. A token that is about to
//! expire, or that a provider has rejected, is refreshed under a lease in the holder's row. Other
//! processes wait for the new version instead of calling the provider. Within a process all callers
//! wait for one refresh task, which outlives the job that started it and which a shutdown waits for.
//! The new token is committed before its first use. No transaction is open during the call to the
//! provider. The provider's quota of refreshes is counted in the token refresh log, which all
//! processes share.

mod refresh;
mod sealing;
mod single_flight;

use std::sync::Arc;

use secrecy::SecretString;
use tokio_util::task::TaskTracker;

use self::refresh::CredentialRequest;
use self::single_flight::SingleFlight;
use crate::clock::SharedClock;
use crate::connectors::{Connector, ConnectorError, Grant, TokenPolicy, TokenSet, UserToken};
use crate::crypto::{CryptoError, Keyring};
use crate::db::credentials::{self as rows, CredentialKey, NewSealed, SealedCredential};
use crate::db::{Db, DbError, TenantScope, Tx};
use crate::model::{ConnectionId, ExternalAccount};

/// A valid access token.
#[derive(Debug)]
pub struct AccessToken {
    /// The token.
    pub token: SecretString,
    /// Its version; pass it to [`Credentials::access_token`] when the provider rejects the token.
    pub version: i64,
    /// The user token, where there is one.
    pub user_token: Option<SecretString>,
}

/// The reason why a token is not available.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The refresh failed at the provider, or the provider did not respond.
    #[error("failed to refresh access token")]
    Provider(#[source] ConnectorError),
    /// The provider rejected the refresh token after the response to an earlier refresh was lost.
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

impl CredentialError {
    /// The same error for another caller that waited for the same refresh.
    ///
    /// Every caller receives the provider's error, because the first error ends a run: if a
    /// waiter only learned that the refresh had failed, the end of a grant would never be recorded.
    fn for_waiter(&self) -> Self {
        match self {
            Self::Provider(error) => Self::Provider(error.for_waiter()),
            Self::RefreshResponseLost(error) => Self::RefreshResponseLost(error.for_waiter()),
            Self::NotFound => Self::NotFound,
            Self::Busy | Self::Decrypt(_) | Self::Db(_) => Self::Busy,
        }
    }
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

    /// Stores the tokens of a new grant in place of all previous ones.
    ///
    /// Without account tokens, the first use obtains one.
    pub async fn store(
        &self,
        tx: &mut Tx,
        scope: &TenantScope,
        connection: ConnectionId,
        policy: TokenPolicy,
        tokens: Option<&TokenSet>,
        user_token: Option<&UserToken>,
    ) -> Result<(), DbError> {
        let account = CredentialKey::account(connection);
        let seal_account = |tokens| self.seal(scope, &account, policy, tokens);
        let sealed = tokens.map_or_else(NewSealed::default, seal_account);
        rows::put(tx, scope, &account, &sealed).await?;
        let Some(UserToken { user_id, tokens }) = user_token else {
            return rows::erase_others(tx, scope, connection, &[&account.holder]).await;
        };
        let user = CredentialKey::user(connection, user_id);
        let kept = [&account.holder, &user.holder];
        rows::erase_others(tx, scope, connection, &kept).await?;
        let sealed = self.seal(scope, &user, policy, tokens);
        rows::put(tx, scope, &user, &sealed).await
    }

    /// Returns whether a connection's account has a refresh token.
    pub async fn has_refresh_token(
        &self,
        tx: &mut Tx,
        scope: &TenantScope,
        connection: ConnectionId,
    ) -> Result<bool, DbError> {
        let row = rows::get(tx, scope, &CredentialKey::account(connection)).await?;
        Ok(row.is_some_and(|row| row.refresh_token.is_some()))
    }

    /// Deletes every token of a connection.
    pub async fn erase(
        &self,
        tx: &mut Tx,
        scope: &TenantScope,
        connection: ConnectionId,
    ) -> Result<(), DbError> {
        rows::erase_others(tx, scope, connection, &[]).await
    }

    /// Deletes the tokens of one holder; those of the connection's other holders are kept.
    pub async fn erase_holder(
        &self,
        tx: &mut Tx,
        scope: &TenantScope,
        key: &CredentialKey,
    ) -> Result<(), DbError> {
        rows::erase(tx, scope, key).await
    }

    /// Returns the account and its tokens, with which the grant can be revoked.
    pub async fn grant(
        &self,
        scope: &TenantScope,
        connection: ConnectionId,
        account: ExternalAccount,
    ) -> Result<Grant, CredentialError> {
        let key = CredentialKey::account(connection);
        let row = self.read(scope, &key).await?;
        self.open_grant(scope, &key, account, row)
    }

    /// Returns the account and the tokens that a transaction sees.
    pub async fn grant_in(
        &self,
        tx: &mut Tx,
        scope: &TenantScope,
        connection: ConnectionId,
        account: ExternalAccount,
    ) -> Result<Grant, CredentialError> {
        let key = CredentialKey::account(connection);
        let row = rows::get(tx, scope, &key).await?;
        self.open_grant(scope, &key, account, row)
    }

    fn open_grant(
        &self,
        scope: &TenantScope,
        key: &CredentialKey,
        account: ExternalAccount,
        row: Option<SealedCredential>,
    ) -> Result<Grant, CredentialError> {
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
    /// `rejected` is the version to which the provider has responded 401; a newer one is returned.
    pub async fn access_token(
        &self,
        scope: &TenantScope,
        connection: ConnectionId,
        account: &ExternalAccount,
        connector: &Arc<dyn Connector>,
        rejected: Option<i64>,
    ) -> Result<AccessToken, CredentialError> {
        let mut request = CredentialRequest {
            scope: *scope,
            key: CredentialKey::account(connection),
            account: account.clone(),
            connector: Arc::clone(connector),
        };
        let resolved = self.resolve(&request, rejected).await?;
        let user_token = match resolved.user_id {
            None => None,
            Some(user_id) => {
                request.key = CredentialKey::user(connection, &user_id);
                self.resolve_optional(&request).await
            }
        };
        Ok(AccessToken {
            token: resolved.token,
            version: resolved.version,
            user_token,
        })
    }

    async fn read(
        &self,
        scope: &TenantScope,
        key: &CredentialKey,
    ) -> Result<Option<SealedCredential>, DbError> {
        let mut tx = self.db.begin(scope).await?;
        let row = rows::get(&mut tx, scope, key).await?;
        tx.end_read();
        Ok(row)
    }
}
