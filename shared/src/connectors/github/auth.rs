//! Who granted what: the app's own tokens, installation tokens, and the connect flow.
//!
//! An `installation_id` in a redirect is a claim that anybody can make. It is believed only
//! when a token of the person who came back lists that installation
//! (<https://docs.github.com/apps/creating-github-apps/registering-a-github-app/about-the-setup-url>).

mod connect;
mod oauth;

use chrono::{DateTime, Duration, Utc};
use http::{Method, StatusCode};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::SecretString;
use serde::Serialize;

pub(super) use connect::{authorize, exchange_token};

use super::GitHub;
use super::client::{APP_ACCOUNT, Answer, Call, Refusal, operator_fault};
use super::wire::{Installation, InstallationToken, decimal};
use crate::connectors::{
    ConnectorError, ExternalAccount, Grant, GrantState, RefreshRequest, TokenSet,
};

/// GitHub's clock may be behind ours.
const ISSUED_EARLIER: Duration = Duration::seconds(60);
/// GitHub allows ten minutes; one is kept for a clock that is ahead of ours.
const JWT_LIFE: Duration = Duration::minutes(9);

#[derive(Serialize)]
struct Claims<'a> {
    iat: i64,
    exp: i64,
    iss: &'a str,
}

/// Whether this key can sign at all.
pub(super) fn can_sign(key: &EncodingKey) -> bool {
    jwt(key, "0", DateTime::UNIX_EPOCH).is_ok()
}

fn jwt(
    key: &EncodingKey,
    app_id: &str,
    now: DateTime<Utc>,
) -> Result<SecretString, jsonwebtoken::errors::Error> {
    let claims = Claims {
        iat: (now - ISSUED_EARLIER).timestamp(),
        exp: (now + JWT_LIFE).timestamp(),
        iss: app_id,
    };
    jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, key).map(SecretString::from)
}

impl GitHub {
    /// The token with which the app speaks for itself.
    pub(super) fn app_token(&self) -> Result<SecretString, ConnectorError> {
        jwt(&self.app.private_key, &self.app.app_id, self.client.now())
            .map_err(|error| ConnectorError::Permanent(error.into()))
    }

    /// A call in the app's own name. GitHub refusing the app itself is the operator's
    /// fault (a key that was deleted, a wrong app id, a clock that is off), never a
    /// tenant's.
    pub(super) async fn as_app(
        &self,
        method: Method,
        path: &[&str],
        operation: &'static str,
    ) -> Result<Answer, Refusal> {
        let token = self.app_token()?;
        let call = Call::new(APP_ACCOUNT, operation, &token);
        self.client
            .call(method, self.client.api(path), call)
            .await
            .map_err(app_refused)
    }
}

/// A refusal of the app itself, as the operator's fault.
pub(super) fn app_refused(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal {
            status,
            error: ConnectorError::Unauthorized(source),
        } => Refusal {
            status,
            error: ConnectorError::Permanent(source),
        },
        other => other,
    }
}

/// Mints an installation token.
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
        Ok(answer) => {
            let minted: InstallationToken = answer.json()?;
            Ok(TokenSet {
                access_token: minted.token,
                refresh_token: None,
                expires_at: Some(minted.expires_at),
                refresh_expires_at: None,
            })
        }
        Err(refusal) => Err(refused(github, id, refusal).await),
    }
}

/// What a refused token means. A 404 says "not yours to see", and a 403 may come from an IP allow
/// list: GitHub is asked about the installation before a grant is called gone or suspended.
async fn refused(github: &GitHub, id: &str, refusal: Refusal) -> ConnectorError {
    let is_missing = refusal.is(StatusCode::NOT_FOUND);
    let source = match refusal.error {
        ConnectorError::Permission(source) => source,
        other => return other,
    };
    match installation_state(github, id).await {
        Ok(GrantState::Removed | GrantState::Revoked) if is_missing => {
            ConnectorError::GrantRevoked(source)
        }
        Ok(GrantState::Suspended) => ConnectorError::GrantSuspended(source),
        // What cannot be told, or is not as the first answer had it, is tried again.
        Ok(GrantState::Removed | GrantState::Revoked | GrantState::Active)
        | Err(
            Refusal {
                error: ConnectorError::Permission(_),
                ..
            }
            | Refusal {
                status: None,
                error: ConnectorError::Permanent(_),
            },
        ) => ConnectorError::Transient(source),
        Err(second) => second.error,
    }
}

/// Whether the app is installed on the account, and not suspended there.
pub(super) async fn grant_state(
    github: &GitHub,
    account: &ExternalAccount,
) -> Result<GrantState, ConnectorError> {
    Ok(installation_state(github, installation_id(&account.id)?).await?)
}

/// What GitHub says of an installation.
async fn installation_state(github: &GitHub, id: &str) -> Result<GrantState, Refusal> {
    let path = ["app", "installations", id];
    match github.as_app(Method::GET, &path, "get_installation").await {
        Ok(answer) => {
            let installation: Installation = answer.json()?;
            Ok(match installation.suspended_at {
                Some(_) => GrantState::Suspended,
                None => GrantState::Active,
            })
        }
        Err(refusal) if refusal.is(StatusCode::NOT_FOUND) => Ok(GrantState::Removed),
        Err(refusal) => Err(refusal),
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
        Err(refusal) if refusal.is(StatusCode::NOT_FOUND) => Ok(()),
        Err(refusal) => Err(refusal.error),
    }
}

/// An installation's number as it may stand in a path.
fn installation_id(text: &str) -> Result<&str, ConnectorError> {
    if decimal(text) {
        Ok(text)
    } else {
        Err(operator_fault(
            "the account's id is not the number of an installation",
        ))
    }
}
