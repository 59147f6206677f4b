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

pub(super) use connect::{authorize, exchange_token};
pub(super) use oauth::check_client;

use super::GitHub;
use super::client::{ApiError, Call, Response, permanent_error};
use super::wire::{Installation, InstallationToken, is_decimal_id};
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

    /// Makes a call as the app.
    ///
    /// If GitHub rejects the app's token, the operator must correct it (a deleted key, a wrong app
    /// id, a wrong clock); no tenant is affected by mistake.
    pub(super) async fn as_app(
        &self,
        method: Method,
        path: &[&str],
        operation: &'static str,
    ) -> Result<Response, ApiError> {
        let token = self.app_token()?;
        let call = Call::new(APP_ACCOUNT, operation, &token);
        self.client
            .call(method, self.client.api(path), call)
            .await
            .map_err(app_error)
    }
}

/// Converts a rejection of the app's token to a permanent error.
pub(super) fn app_error(error: ApiError) -> ApiError {
    let cause = match error.cause {
        ConnectorError::Unauthorized(source) => ConnectorError::Permanent(source),
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
        Err(error) => Err(confirm_token_error(github, id, error).await),
    }
}

/// Maps the error of a token request, after a check of the installation.
///
/// A 404 can mean missing access, and a 403 can come from an IP allow list, so the installation is
/// fetched before the grant counts as ended or suspended.
async fn confirm_token_error(github: &GitHub, id: &str, error: ApiError) -> ConnectorError {
    let is_missing = error.is(StatusCode::NOT_FOUND);
    let source = match error.cause {
        ConnectorError::Denied { source, .. } => source,
        other => return other,
    };
    match installation_state(github, id).await {
        Ok(GrantState::Removed | GrantState::Revoked) if is_missing => {
            ConnectorError::GrantRevoked(source)
        }
        Ok(GrantState::Suspended) => ConnectorError::GrantSuspended(source),
        // An unknown state, or one that contradicts the first response, is retried.
        Ok(GrantState::Removed | GrantState::Revoked | GrantState::Active)
        | Err(
            ApiError {
                cause: ConnectorError::Denied { .. },
                ..
            }
            | ApiError {
                status: None,
                cause: ConnectorError::Permanent(_),
                ..
            },
        ) => ConnectorError::Transient(source),
        Err(other) => other.cause,
    }
}

/// Fetches the state of the account's grant.
pub(super) async fn fetch_grant_state(
    github: &GitHub,
    account: &ExternalAccount,
) -> Result<GrantState, ConnectorError> {
    Ok(installation_state(github, installation_id(&account.id)?).await?)
}

/// Fetches the state of an installation.
async fn installation_state(github: &GitHub, id: &str) -> Result<GrantState, ApiError> {
    let path = ["app", "installations", id];
    match github.as_app(Method::GET, &path, "get_installation").await {
        Ok(response) => {
            let installation: Installation = response.json()?;
            Ok(match installation.suspended_at {
                Some(_) => GrantState::Suspended,
                None => GrantState::Active,
            })
        }
        Err(error) if error.is(StatusCode::NOT_FOUND) => Ok(GrantState::Removed),
        Err(error) => Err(error),
    }
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
        Err(error) if error.is(StatusCode::NOT_FOUND) => Ok(()),
        Err(error) => Err(error.cause),
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
