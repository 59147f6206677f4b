//! Authorization: tokens of the app and of installations, and the connect flow.
//!
//! Any client can send an `installation_id` in a redirect. It is accepted only if the user's token
//! lists that installation
//! (<https://docs.github.com/apps/creating-github-apps/registering-a-github-app/about-the-setup-url>).

mod connect;
mod oauth;

use chrono::{DateTime, Duration, Utc};
use http::{Method, StatusCode};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::SecretString;
use serde::Serialize;
use serde_json::Value;

pub(super) use connect::{authorize, exchange_token};
pub(super) use oauth::check_client;

use super::GitHub;
use super::client::{ApiError, Call, Response, is_own_not_found, permanent_error};
use super::wire::{App, Installation, InstallationToken, is_decimal_id};
use crate::connectors::settings::APP_ACCOUNT;
use crate::connectors::{ConnectorError, Grant, GrantState, RefreshRequest, TokenSet};
use crate::model::ExternalAccount;

/// Time by which GitHub's clock may be behind.
const CLOCK_SKEW: Duration = Duration::seconds(60);
/// Lifetime of a JWT. GitHub allows ten minutes, and its clock may be ahead.
const JWT_TTL: Duration = Duration::minutes(9);

#[derive(Serialize)]
struct Claims<'a> {
    iat: i64,
    exp: i64,
    iss: &'a str,
}

/// Returns whether the key can sign.
pub(super) fn can_sign(key: &EncodingKey) -> bool {
    jwt(key, "0", DateTime::UNIX_EPOCH).is_ok()
}

fn jwt(
    key: &EncodingKey,
    app_id: &str,
    now: DateTime<Utc>,
) -> Result<SecretString, jsonwebtoken::errors::Error> {
    let claims = Claims {
        iat: (now - CLOCK_SKEW).timestamp(),
        exp: (now + JWT_TTL).timestamp(),
        iss: app_id,
    };
    jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, key).map(SecretString::from)
}

impl GitHub {
    /// Signs a token of the app.
    pub(super) fn app_token(&self) -> Result<SecretString, ConnectorError> {
        jwt(&self.app.private_key, &self.app.app_id, self.client.now())
            .map_err(|error| ConnectorError::Permanent(error.into()))
    }

    /// Makes a call as the app; a rejection of its token is a temporary failure.
    pub(super) async fn as_app(
        &self,
        method: Method,
        path: &[&str],
        operation: &'static str,
    ) -> Result<Response, ApiError> {
        let response = self.call_as_app(method, path, operation).await;
        response.map_err(app_error)
    }

    /// Makes a call as the app.
    async fn call_as_app(
        &self,
        method: Method,
        path: &[&str],
        operation: &'static str,
    ) -> Result<Response, ApiError> {
        let token = self.app_token()?;
        let call = Call::new(APP_ACCOUNT, operation, &token);
        self.client.call(method, self.client.api(path), call).await
    }

    /// Returns whether GitHub answers as the configured app.
    ///
    /// If not, its other responses to the app prove nothing: the key may belong to another app, or
    /// another server may answer.
    async fn is_app_known(&self) -> Result<bool, ApiError> {
        let response = self.as_app(Method::GET, &["app"], "get_app").await;
        let response = response.map_err(unproved)?;
        let app: App = response.json()?;
        Ok(self.app.app_id.parse::<u64>() == Ok(app.id))
    }
}

/// Converts a rejection of the app's token to a temporary failure.
///
/// It says nothing about a grant, and GitHub rejects valid tokens during outages. If the key was
/// deleted, or the clock is wrong, the calls fail until the operator corrects it.
pub(super) fn app_error(error: ApiError) -> ApiError {
    let cause = match error.cause {
        ConnectorError::Unauthorized(source) => ConnectorError::Transient(source),
        other => other,
    };
    ApiError { cause, ..error }
}

/// Creates an installation token.
pub(super) async fn refresh_token(
    github: &GitHub,
    request: &RefreshRequest,
) -> Result<TokenSet, ConnectorError> {
    let id = installation_id(&request.account.id)?;
    let path = ["app", "installations", id, "access_tokens"];
    match github
        .as_app(Method::POST, &path, "create_installation_token")
        .await
    {
        Ok(response) => {
            let created: InstallationToken = response.json()?;
            Ok(TokenSet {
                access_token: created.token,
                refresh_token: None,
                expires_at: Some(created.expires_at),
                refresh_expires_at: None,
            })
        }
        Err(error) => Err(confirm_token_error(github, &request.account, error).await),
    }
}

/// Maps the error of a token request, after a check of the installation.
///
/// A 404 can come from a proxy, and a 403 from an IP allow list, so the installation is fetched
/// before the grant counts as ended or suspended. Everything else is retried.
async fn confirm_token_error(
    github: &GitHub,
    account: &ExternalAccount,
    error: ApiError,
) -> ConnectorError {
    let is_missing = error.is(StatusCode::NOT_FOUND);
    let source = match error.cause {
        ConnectorError::Denied { source, .. } => source,
        other => return other,
    };
    match installation_state(github, account).await {
        Ok(GrantState::Removed | GrantState::Revoked) if is_missing => {
            ConnectorError::GrantRevoked(source)
        }
        Ok(GrantState::Suspended) => ConnectorError::GrantSuspended(source),
        Err(
            limited @ ApiError {
                cause: ConnectorError::RateLimited { .. },
                ..
            },
        ) => limited.cause,
        // An unknown state, or one that contradicts the first response.
        Ok(GrantState::Removed | GrantState::Revoked | GrantState::Active) | Err(_) => {
            ConnectorError::Transient(source)
        }
    }
}

/// Fetches the state of the account's grant.
pub(super) async fn fetch_grant_state(
    github: &GitHub,
    account: &ExternalAccount,
) -> Result<GrantState, ConnectorError> {
    Ok(installation_state(github, account).await?)
}

/// Fetches the state of an installation.
///
/// It is removed only if GitHub itself says that it does not exist, and answers as the app that was
/// installed. Any other 404 is a temporary failure.
async fn installation_state(
    github: &GitHub,
    account: &ExternalAccount,
) -> Result<GrantState, ApiError> {
    let path = ["app", "installations", installation_id(&account.id)?];
    let error = match github.as_app(Method::GET, &path, "get_installation").await {
        Ok(response) => {
            let installation: Installation = response.json()?;
            return Ok(match installation.suspended_at {
                Some(_) => GrantState::Suspended,
                None => GrantState::Active,
            });
        }
        Err(error) => error,
    };
    if is_own_not_found(&error)
        && is_installed_app(github, account)
        && github.is_app_known().await?
    {
        return Ok(GrantState::Removed);
    }
    Err(unproved(error))
}

/// Returns whether the account is not known to have installed another app than the configured one.
fn is_installed_app(github: &GitHub, account: &ExternalAccount) -> bool {
    let installed = account.settings.get("app_id").and_then(Value::as_u64);
    installed.is_none_or(|id| github.app.app_id.parse::<u64>() == Ok(id))
}

/// Converts a denial that does not prove anything to a temporary failure.
fn unproved(error: ApiError) -> ApiError {
    let cause = match error.cause {
        ConnectorError::Denied { source, .. } => ConnectorError::Transient(source),
        other => other,
    };
    ApiError { cause, ..error }
}

/// Uninstalls the app from the account.
pub(super) async fn revoke(github: &GitHub, grant: &Grant) -> Result<(), ConnectorError> {
    let id = installation_id(&grant.account.id)?;
    let path = ["app", "installations", id];
    match github
        .as_app(Method::DELETE, &path, "delete_installation")
        .await
    {
        Ok(_) => Ok(()),
        Err(error) if is_own_not_found(&error) => Ok(()),
        Err(error) => Err(unproved(error).cause),
    }
}

/// Validates an installation id for use in a path.
fn installation_id(text: &str) -> Result<&str, ConnectorError> {
    if is_decimal_id(text) {
        Ok(text)
    } else {
        Err(permanent_error(
            "the account's id is not an installation id",
        ))
    }
}
