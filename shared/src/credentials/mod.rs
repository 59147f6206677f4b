//! Tokens: sealed at rest, opened only to be used, renewed by one process at a time.
//!
//! Whoever needs a token asks here. A token that is about to end, or that a provider has
//! refused, is renewed under a lease in the connection's row: the others wait for the new
//! version instead of calling the provider. Within a process they wait for one refresh, which
//! is a task of its own: it outlives the job that asked for it, and the shutdown waits for it.
//! The new token is committed before anybody uses it. No transaction stays open during the
//! call.

mod flights;

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use metrics::counter;
use secrecy::SecretString;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use self::flights::{Flight, Flights};
use crate::clock::SharedClock;
use crate::connectors::{
    Connector, ConnectorError, ExternalAccount, Grant, RefreshRequest, TokenHolder, TokenSet,
};
use crate::crypto::{CryptoError, Keyring, SealContext};
use crate::db::credentials::{
    self as rows, CredentialKey, NewSealed, RotationLease, SealedCredential,
};
use crate::db::{Db, DbError, TenantScope, Tx};
use crate::ids::ConnectionId;
use crate::telemetry::names;

/// How long one renewal may take before another process may try; longer than any call.
const LEASE: Duration = Duration::from_secs(45);
/// A token that ends sooner than this is renewed first.
const MARGIN: TimeDelta = TimeDelta::minutes(1);
/// Between two looks at a renewal that another process does; each pause is twice as long.
const MIN_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_millis(500);
/// Refreshes that a caller waits for in a row.
const MAX_FLIGHTS: usize = 3;

/// A token that can be used now.
#[derive(Debug)]
pub struct AccessToken {
    /// The token.
    pub token: SecretString,
    /// Which of the connection's tokens it is; say so when the provider refuses it.
    pub version: i64,
    /// The token of the person who connected it, where there is one.
    pub person: Option<SecretString>,
    has_person: bool,
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
    tasks: TaskTracker,
    flights: Flights,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

impl Credentials {
    /// Keeps tokens in this database, under this keyring. Refreshes run among `tasks`, whose end
    /// the process waits for.
    pub fn new(db: Db, keyring: Arc<Keyring>, clock: SharedClock, tasks: TaskTracker) -> Self {
        Self {
            db,
            keyring,
            clock,
            tasks,
            flights: Flights::default(),
        }
    }

    /// Stores the tokens of a new grant; without tokens, the first use makes one.
    pub async fn store(
        &self,
        tx: &mut Tx,
        scope: &TenantScope,
        connection: ConnectionId,
        tokens: Option<&TokenSet>,
        person: Option<&TokenSet>,
    ) -> Result<(), DbError> {
        let key = of_account(connection);
        let sealed = tokens.map_or_else(NewSealed::default, |t| self.seal(scope, key, t));
        rows::put(tx, scope, key, &sealed).await?;
        let key = of_person(connection);
        match person {
            Some(tokens) => rows::put(tx, scope, key, &self.seal(scope, key, tokens)).await,
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
        rows::erase(tx, scope, of_account(connection)).await?;
        self.erase_person(tx, scope, connection).await
    }

    /// Deletes the tokens of the person who connected it; the account's stay.
    pub async fn erase_person(
        &self,
        tx: &mut Tx,
        scope: &TenantScope,
        connection: ConnectionId,
    ) -> Result<(), DbError> {
        rows::erase(tx, scope, of_person(connection)).await
    }

    /// The account and whatever tokens there are, to end the grant with.
    pub async fn grant(
        &self,
        scope: &TenantScope,
        connection: ConnectionId,
        account: ExternalAccount,
    ) -> Result<Grant, CredentialError> {
        let key = of_account(connection);
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

    /// Tokens that are good for at least a minute. `refused` is the version that the
    /// provider has just answered 401 to: a newer one is got.
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
            key: of_account(connection),
            account: account.clone(),
            connector: Arc::clone(connector),
        };
        let mut token = self.token_of(&request, refused).await?;
        if token.has_person {
            let key = of_person(connection);
            let request = CredentialRequest { key, ..request };
            token.person = self.token_of_person(&request).await?;
        }
        Ok(token)
    }

    /// The person's token. Nothing depends on it: one that is gone is forgotten, and one that
    /// cannot be had now is done without.
    async fn token_of_person(
        &self,
        request: &CredentialRequest,
    ) -> Result<Option<SecretString>, CredentialError> {
        let error = match self.token_of(request, None).await {
            Ok(token) => return Ok(Some(token.token)),
            Err(CredentialError::Erased) => return Ok(None),
            Err(error) => error,
        };
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "there is no token of the person who connected the account"
        );
        Ok(None)
    }

    async fn token_of(
        &self,
        request: &CredentialRequest,
        refused: Option<i64>,
    ) -> Result<AccessToken, CredentialError> {
        let CredentialRequest { scope, key, .. } = request;
        for _ in 0..MAX_FLIGHTS {
            let row = self.read(scope, *key).await?;
            let row = row.ok_or(CredentialError::Erased)?;
            if let Some(token) = self.usable(scope, *key, &row, refused)? {
                return Ok(token);
            }
            match self.flights.join(scope.tenant_id(), *key) {
                Flight::Lead(leader) => {
                    let (this, request) = (self.clone(), request.clone());
                    let refresh = async move {
                        let result = this.refresh(&request, refused).await;
                        leader.end(result.is_ok());
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
                // Whoever did it says why it failed; everybody else comes back later.
                Flight::Follow(follower) => {
                    if !follower.wait().await {
                        return Err(CredentialError::Busy);
                    }
                }
            }
        }
        Err(CredentialError::Busy)
    }

    /// Renews a token, or waits for the process that does.
    async fn refresh(
        &self,
        request: &CredentialRequest,
        refused: Option<i64>,
    ) -> Result<AccessToken, CredentialError> {
        let CredentialRequest { scope, key, .. } = request;
        let deadline = Instant::now() + LEASE;
        let mut pause = MIN_PAUSE;
        while Instant::now() < deadline {
            let mut tx = self.db.begin(scope).await?;
            let row = rows::get(&mut tx, scope, *key).await?;
            let row = row.ok_or(CredentialError::Erased)?;
            if let Some(token) = self.usable(scope, *key, &row, refused)? {
                return Ok(token);
            }
            let seconds = LEASE.as_secs_f64();
            let leased = rows::lease(&mut tx, scope, *key, row.version, seconds).await?;
            tx.commit().await.map_err(DbError::from)?;
            if let Some(lease) = leased {
                return self.renew(request, row, lease).await;
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
            .is_none_or(|end| end > self.clock.now() + MARGIN);
        if !fresh || refused.is_some_and(|version| row.version <= version) {
            return Ok(None);
        }
        let token = self.open(scope, key, "access_token", row.access_token.as_deref())?;
        Ok(token.map(|token| AccessToken {
            token,
            version: row.version,
            person: None,
            has_person: row.has_person,
        }))
    }

    async fn renew(
        &self,
        request: &CredentialRequest,
        row: SealedCredential,
        lease: RotationLease,
    ) -> Result<AccessToken, CredentialError> {
        let CredentialRequest { scope, key, .. } = request;
        let key = *key;
        let provider = request.connector.descriptor().slug;
        if lease.answer_lost {
            // Providers let the same refresh token pass again for a while.
            counter!(names::TOKEN_ROTATIONS_LOST_TOTAL, "provider" => provider).increment(1);
            tracing::warn!(
                provider,
                connection.id = %key.connection,
                "the answer to an earlier renewal was lost; the same token is tried again"
            );
        }
        let access_token = self.open(scope, key, "access_token", row.access_token.as_deref())?;
        let refresh_token = self.open(scope, key, "refresh_token", row.refresh_token.as_deref())?;
        let refresh = RefreshRequest {
            account: request.account.clone(),
            access_token,
            refresh_token,
        };
        let answer = request.connector.refresh_token(refresh).await;
        let outcome = answer
            .as_ref()
            .map_or_else(ConnectorError::code, |_| "renewed");
        counter!(names::TOKEN_REFRESHES_TOTAL, "provider" => provider, "outcome" => outcome)
            .increment(1);
        let version = self.record(scope, key, &lease, &answer).await?;
        match answer {
            Ok(tokens) => Ok(AccessToken {
                token: tokens.access_token,
                // Without one the lease had passed on: another process has the newer token.
                version: version.ok_or(CredentialError::Busy)?,
                person: None,
                has_person: row.has_person,
            }),
            Err(error) if lease.answer_lost && matches!(error, ConnectorError::GrantRevoked(_)) => {
                Err(CredentialError::RotationLost(error))
            }
            Err(error) => Err(CredentialError::Provider(error)),
        }
    }

    /// Stores the provider's answer, fenced by the lease; returns the version of new tokens.
    ///
    /// Many providers accept a refresh token once, so new tokens exist nowhere else: while Postgres
    /// is away, this tries again for as long as the lease holds.
    async fn record(
        &self,
        scope: &TenantScope,
        key: CredentialKey,
        lease: &RotationLease,
        answer: &Result<TokenSet, ConnectorError>,
    ) -> Result<Option<i64>, DbError> {
        let deadline = Instant::now() + LEASE;
        let mut pause = MIN_PAUSE;
        loop {
            match self.record_once(scope, key, lease, answer).await {
                Err(error) if error.is_unavailable() && Instant::now() + pause < deadline => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        connection.id = %key.connection,
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
        scope: &TenantScope,
        key: CredentialKey,
        lease: &RotationLease,
        answer: &Result<TokenSet, ConnectorError>,
    ) -> Result<Option<i64>, DbError> {
        let mut tx = self.db.begin(scope).await?;
        let version = match answer {
            Ok(tokens) => {
                let sealed = self.seal(scope, key, tokens);
                rows::renew(&mut tx, scope, key, lease.id, &sealed).await?
            }
            // The account's tokens stay: its connection says that the grant is gone.
            Err(ConnectorError::GrantRevoked(_)) if key.holder == TokenHolder::Person => {
                rows::erase_leased(&mut tx, scope, key, lease.id).await?;
                None
            }
            Err(error) => {
                rows::release(&mut tx, scope, key, lease.id, error.code()).await?;
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
        tx.leave();
        Ok(row)
    }

    fn seal(&self, scope: &TenantScope, key: CredentialKey, tokens: &TokenSet) -> NewSealed {
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
            .map_err(CredentialError::Sealed)
    }
}

/// Whose token is wanted, and who can renew it.
#[derive(Clone)]
struct CredentialRequest {
    scope: TenantScope,
    key: CredentialKey,
    account: ExternalAccount,
    connector: Arc<dyn Connector>,
}

const fn of_account(connection: ConnectionId) -> CredentialKey {
    CredentialKey {
        connection,
        holder: TokenHolder::Account,
    }
}

const fn of_person(connection: ConnectionId) -> CredentialKey {
    CredentialKey {
        connection,
        holder: TokenHolder::Person,
    }
}

/// What a sealed token is bound to: moved to another row, column or table it does not open.
fn context(scope: &TenantScope, key: CredentialKey, field: &'static str) -> SealContext<'static> {
    let field = match (key.holder, field) {
        (TokenHolder::Person, "access_token") => "person_access_token",
        (TokenHolder::Person, _) => "person_refresh_token",
        (TokenHolder::Account, field) => field,
    };
    SealContext {
        tenant: scope.tenant_id(),
        connection: key.connection.0,
        field,
    }
}
