//! Outcomes of authorization steps, also for repeated callbacks.
//!
//! Browsers may repeat a request: a reload, an aborted navigation, a prefetch. A repeated request
//! waits for the outcome of the first and receives the same response.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared::db::TenantScope;
use shared::db::connections::{self, Connection};
use shared::db::oauth_states::{self, OauthState};
use shared::model::ConnectionId;
use tokio::time::Instant;
use url::Url;

use super::account_picker::AccountPicker;
use super::authorization_step;
use crate::error::{ApiError, Conflict, ProviderFailure};
use crate::state::AppState;

/// The maximum time that a repeated callback waits for the outcome of the first.
const REPEAT_TIMEOUT: Duration = Duration::from_secs(25);
/// The interval at which a repeated callback reads the outcome.
const REPEAT_INTERVAL: Duration = Duration::from_millis(200);

/// The outcome of an authorization step.
pub(super) enum StepOutcome {
    /// Another step follows at the provider.
    Redirect(Url),
    /// The person picks one of several accounts.
    PickAccount(AccountPicker),
    /// The flow ended with a connection, active or pending.
    Done(Box<Connection>),
}

/// The error of an authorization step.
pub(super) struct StepError {
    pub(super) error: ApiError,
    /// The name of the account that was to be connected.
    pub(super) account: Option<String>,
}

impl From<ApiError> for StepError {
    fn from(error: ApiError) -> Self {
        Self {
            error,
            account: None,
        }
    }
}

/// The stored form of an outcome.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredOutcome {
    Redirect(Url),
    PickAccount(AccountPicker),
    Done(ConnectionId),
    Failed(StoredFailure),
}

/// The stored form of an error.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredFailure {
    Denied(String),
    AccountTaken {
        account: Option<String>,
    },
    Provider(ProviderFailure),
    /// Any other error; a repeated request is rejected as one with an invalid state.
    Other,
}

impl From<&StepError> for StoredFailure {
    fn from(failed: &StepError) -> Self {
        match &failed.error {
            ApiError::Denied(reason) => Self::Denied(reason.clone()),
            ApiError::Conflict(Conflict::AccountAlreadyConnected) => Self::AccountTaken {
                account: failed.account.clone(),
            },
            ApiError::Connector(error) => Self::Provider(ProviderFailure::of(error)),
            _ => Self::Other,
        }
    }
}

impl From<StoredFailure> for StepError {
    fn from(stored: StoredFailure) -> Self {
        let (error, account) = match stored {
            StoredFailure::Denied(reason) => (ApiError::Denied(reason), None),
            StoredFailure::AccountTaken { account } => {
                (Conflict::AccountAlreadyConnected.into(), account)
            }
            StoredFailure::Provider(failure) => (ApiError::RepeatedProviderFailure(failure), None),
            StoredFailure::Other => (ApiError::InvalidState, None),
        };
        Self { error, account }
    }
}

/// Stores the outcome of a callback for repeated requests.
pub(super) async fn store(
    app: &AppState,
    row: &OauthState,
    outcome: &Result<StepOutcome, StepError>,
) -> Result<(), ApiError> {
    let stored = match outcome {
        Ok(StepOutcome::Redirect(url)) => StoredOutcome::Redirect(url.clone()),
        Ok(StepOutcome::PickAccount(picker)) => StoredOutcome::PickAccount(picker.clone()),
        Ok(StepOutcome::Done(connection)) => StoredOutcome::Done(connection.id),
        Err(failed) => StoredOutcome::Failed(failed.into()),
    };
    authorization_step::store_outcome(app, row, &stored).await
}

/// Waits for the outcome of an earlier callback with the same state.
pub(super) async fn await_stored(
    app: &AppState,
    provider: &str,
    row: &OauthState,
) -> Result<StepOutcome, StepError> {
    let deadline = Instant::now() + REPEAT_TIMEOUT;
    loop {
        let found = oauth_states::find(&app.db, row.state_hash)
            .await
            .map_err(ApiError::from)?
            .filter(|row| row.provider == provider)
            .ok_or(ApiError::InvalidState)?;
        if let Some(sealed) = &found.response {
            return match authorization_step::open_outcome(app, &found, sealed)? {
                StoredOutcome::Redirect(url) => Ok(StepOutcome::Redirect(url)),
                StoredOutcome::PickAccount(picker) => Ok(StepOutcome::PickAccount(picker)),
                StoredOutcome::Done(id) => {
                    let connection = find_connection(app, &found.scope, id).await?;
                    let connection = connection.ok_or(ApiError::InvalidState)?;
                    Ok(StepOutcome::Done(Box::new(connection)))
                }
                StoredOutcome::Failed(failure) => Err(failure.into()),
            };
        }
        if Instant::now() >= deadline {
            return Err(ApiError::TimedOut.into());
        }
        tokio::time::sleep(REPEAT_INTERVAL).await;
    }
}

/// Finds the connection with which a flow of this link in this browser ended.
pub(super) async fn find_done(
    app: &AppState,
    scope: &TenantScope,
    link_hash: &[u8; 32],
    browser_hash: &[u8; 32],
) -> Result<Option<Connection>, ApiError> {
    let mut tx = app.db.begin(scope).await?;
    let answered = oauth_states::list_answered(&mut tx, scope, link_hash, browser_hash).await?;
    tx.commit().await?;
    for row in answered {
        let sealed = row.response.as_deref().unwrap_or_default();
        if let StoredOutcome::Done(id) = authorization_step::open_outcome(app, &row, sealed)? {
            return find_connection(app, scope, id).await;
        }
    }
    Ok(None)
}

async fn find_connection(
    app: &AppState,
    scope: &TenantScope,
    id: ConnectionId,
) -> Result<Option<Connection>, ApiError> {
    let mut tx = app.db.begin(scope).await?;
    let connection = connections::get(&mut tx, scope, id).await?;
    tx.commit().await?;
    Ok(connection)
}
