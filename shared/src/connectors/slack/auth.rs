//! OAuth v2: installation of the bot, token refresh and revocation.
//!
//! The bot is installed into a workspace or an organization. The installer may also grant a user
//! token, which has a rotation separate from the bot's.
//!
//! Sources: "Installing with OAuth" and "Using token rotation" at docs.slack.dev. PKCE is not
//! used: it would permanently make the app a public client.

use chrono::{DateTime, Duration, Utc};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::Slack;
use super::client::{ApiError, Auth};
use crate::connectors::error::permanent_error;
use crate::connectors::oauth;
use crate::connectors::{
    AuthorizeRequest, Callback, CallbackOutcome, ConnectorError, Grant, GrantState, NewGrant,
    RefreshRequest, TokenSet, with_new_token,
};
use crate::http::Charge;
use crate::model::ExternalAccount;

/// Bot scopes.
pub(super) const SCOPES: &[&str] = &[
    "app_mentions:read",
    "channels:history",
    "channels:read",
    "files:read",
    "groups:history",
    "groups:read",
    "reactions:read",
    "team:read",
    "users:read",
];

/// Rate limit account of calls that the app makes without a workspace.
const APP: &str = "app";
const TOKEN_METHOD: &str = "oauth.v2.access";

/// The authorization URL.
pub(super) fn authorize(slack: &Slack, request: &AuthorizeRequest) -> Url {
    let mut url = slack.client.url(&["oauth", "v2", "authorize"]);
    url.query_pairs_mut()
        .append_pair("client_id", &slack.app.client_id)
        .append_pair("scope", &SCOPES.join(","))
        .append_pair("redirect_uri", request.redirect_uri.as_str())
        .append_pair("state", &request.state);
    if !slack.app.user_scopes.is_empty() {
        url.query_pairs_mut()
            .append_pair("user_scope", &slack.app.user_scopes.join(","));
    }
    url
}

/// Response of the token endpoint.
#[derive(Deserialize)]
struct Tokens {
    access_token: Option<SecretString>,
    refresh_token: Option<SecretString>,
    expires_in: Option<i64>,
    scope: Option<String>,
    bot_user_id: Option<String>,
    app_id: Option<String>,
    team: Option<InstallTarget>,
    enterprise: Option<InstallTarget>,
    #[serde(default)]
    is_enterprise_install: bool,
    authed_user: Option<AuthedUser>,
}

/// The installer, with their user token if they granted one.
#[derive(Default, Deserialize)]
struct AuthedUser {
    id: Option<String>,
    access_token: Option<SecretString>,
    refresh_token: Option<SecretString>,
    expires_in: Option<i64>,
}

/// A workspace or an organization.
#[derive(Deserialize)]
struct InstallTarget {
    id: String,
    name: Option<String>,
}

/// Response of `auth.test`.
#[derive(Deserialize)]
struct Identity {
    url: Option<String>,
    team: Option<String>,
}

/// Exchanges the code of a callback and reads the identity of the new token.
pub(super) async fn exchange_token(
    slack: &Slack,
    callback: &Callback,
) -> Result<CallbackOutcome, ConnectorError> {
    let code = match oauth::authorization_code(callback, "Slack") {
        Ok(code) => code,
        Err(end) => return end,
    };
    let arguments = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", callback.redirect_uri.as_str()),
    ];
    let tokens = match request_tokens(slack, APP, &arguments).await {
        Ok(tokens) => tokens,
        Err(error) if matches!(error.code.as_str(), "invalid_code" | "code_already_used") => {
            return Ok(oauth::expired_code());
        }
        Err(error) if error.code == "cannot_install_an_org_installed_app" => {
            return Ok(CallbackOutcome::denied(
                "The app is installed for the whole organization. Connect the organization.",
            ));
        }
        Err(error) => return Err(error.cause.into_app_error()),
    };
    if let (Some(ours), Some(theirs)) = (&slack.app.app_id, &tokens.app_id)
        && ours != theirs
    {
        return Err(permanent_error(
            "the client id belongs to another Slack app",
        ));
    }
    let Some(token) = tokens.access_token.clone() else {
        return Ok(CallbackOutcome::denied(
            "The installation has no bot. Install the app with its bot.",
        ));
    };
    grant(slack, token, tokens)
        .await
        .map(CallbackOutcome::connected)
}

/// Builds the grant of a new bot token.
async fn grant(
    slack: &Slack,
    token: SecretString,
    tokens: Tokens,
) -> Result<NewGrant, ConnectorError> {
    let organization = tokens.is_enterprise_install;
    let target = if organization {
        tokens.enterprise
    } else {
        tokens.team
    };
    let target = target
        .filter(|target| !target.id.is_empty())
        .ok_or_else(|| permanent_error("the token response names no workspace"))?;
    let charge = Charge::new(&target.id, "auth.test");
    let test_auth = || slack.client.call(&charge, Auth::Bearer(&token), &[]);
    let response = with_new_token(|| Box::pin(async { Ok(test_auth().await?) })).await?;
    let identity: Identity = response.json()?;
    let now = slack.clock.now();
    let installer = tokens.authed_user.unwrap_or_default();
    Ok(NewGrant {
        account: ExternalAccount {
            name: target
                .name
                .or(identity.team)
                .unwrap_or_else(|| target.id.clone()),
            stable_id: target.id.clone(),
            settings: json!({
                "url": identity.url,
                "bot_user_id": tokens.bot_user_id,
                "installer_id": installer.id,
                "organization": organization,
            }),
            id: target.id,
        },
        tokens: Some(token_set(
            now,
            token,
            tokens.refresh_token,
            tokens.expires_in,
        )),
        user_token: installer
            .access_token
            .map(|token| token_set(now, token, installer.refresh_token, installer.expires_in)),
        scopes: tokens
            .scope
            .unwrap_or_default()
            .split(',')
            .filter(|scope| !scope.is_empty())
            .map(str::to_owned)
            .collect(),
        administrator: None,
    })
}

/// Refreshes a token of an app with token rotation.
///
/// Without rotation there is no refresh token, so `auth.test` verifies the current token instead.
pub(super) async fn refresh_token(
    slack: &Slack,
    request: &RefreshRequest,
) -> Result<TokenSet, ConnectorError> {
    use secrecy::ExposeSecret;
    let Some(refresh_token) = &request.refresh_token else {
        return verify_token(slack, request).await;
    };
    let arguments = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh_token.expose_secret()),
    ];
    let tokens = request_tokens(slack, &request.account.id, &arguments)
        .await
        .map_err(classify_grant_error)?;
    let access_token = tokens
        .access_token
        .ok_or_else(|| permanent_error("the token response holds no access token"))?;
    Ok(token_set(
        slack.clock.now(),
        access_token,
        tokens.refresh_token,
        tokens.expires_in,
    ))
}

/// Returns the current token if Slack still accepts it.
async fn verify_token(slack: &Slack, request: &RefreshRequest) -> Result<TokenSet, ConnectorError> {
    let Some(token) = &request.access_token else {
        // Not a response of Slack, so the grant's state is unchanged.
        return Err(permanent_error("no token of the grant is stored"));
    };
    let charge = Charge::new(&request.account.id, "auth.test");
    slack
        .client
        .call(&charge, Auth::Bearer(token), &[])
        .await
        .map_err(classify_grant_error)?;
    Ok(token_set(slack.clock.now(), token.clone(), None, None))
}

/// Maps Slack's error codes of a revoked grant to [`ConnectorError::GrantRevoked`].
///
/// `invalid_auth` is not one of them: Slack also sends it for IP addresses that a workspace does
/// not allow.
fn classify_grant_error(error: ApiError) -> ConnectorError {
    match (error.code.as_str(), error.cause) {
        (
            "token_revoked" | "account_inactive" | "token_expired" | "invalid_refresh_token",
            ConnectorError::Unauthorized(source),
        ) => ConnectorError::GrantRevoked(source),
        (_, other) => other,
    }
}

/// Checks whether Slack still accepts the bot's token.
///
/// The check follows a delivery that reports a revoked token or an uninstalled app, so
/// `invalid_auth` confirms the revocation here. Other errors leave the state unknown.
pub(super) async fn fetch_grant_state(
    slack: &Slack,
    grant: &Grant,
) -> Result<GrantState, ConnectorError> {
    let Some(token) = &grant.access_token else {
        return Err(permanent_error("no token of the grant is stored"));
    };
    let charge = Charge::new(&grant.account.id, "auth.test");
    match slack.client.call(&charge, Auth::Bearer(token), &[]).await {
        Ok(_) => Ok(GrantState::Active),
        Err(error) => match error.code.as_str() {
            "token_revoked" | "invalid_auth" => Ok(GrantState::Revoked),
            "account_inactive" => Ok(GrantState::Removed),
            _ => Err(error.cause),
        },
    }
}

/// Uninstalls the app from the workspace, which revokes the bot's token.
pub(super) async fn revoke(slack: &Slack, grant: &Grant) -> Result<(), ConnectorError> {
    use secrecy::ExposeSecret;
    let (Some(token), Some(secret)) = (&grant.access_token, slack.app.client_secrets.first())
    else {
        return Ok(());
    };
    let arguments = [
        ("client_id", slack.app.client_id.as_str()),
        ("client_secret", secret.expose_secret()),
    ];
    let charge = Charge::new(&grant.account.id, "apps.uninstall");
    let uninstalled = slack
        .client
        .call(&charge, Auth::Bearer(token), &arguments)
        .await;
    match uninstalled {
        Ok(_) => Ok(()),
        // The token is already revoked.
        Err(error) if matches!(error.cause, ConnectorError::Unauthorized(_)) => Ok(()),
        Err(error) => Err(error.cause),
    }
}

/// Calls the token endpoint with each client secret until one is accepted.
async fn request_tokens(
    slack: &Slack,
    account: &str,
    arguments: &[(&str, &str)],
) -> Result<Tokens, ApiError> {
    let mut rejected_secret = ApiError::from(permanent_error("no client secret is configured"));
    for secret in &slack.app.client_secrets {
        let auth = Auth::Client(&slack.app.client_id, secret);
        let charge = Charge::new(account, TOKEN_METHOD);
        match slack.client.call(&charge, auth, arguments).await {
            Ok(response) => return Ok(response.json()?),
            Err(error) if matches!(error.code.as_str(), "bad_client_secret") => {
                rejected_secret = error;
            }
            Err(error) => return Err(error),
        }
    }
    Err(rejected_secret)
}

fn token_set(
    now: DateTime<Utc>,
    access_token: SecretString,
    refresh_token: Option<SecretString>,
    expires_in: Option<i64>,
) -> TokenSet {
    TokenSet {
        access_token,
        refresh_token,
        expires_at: expires_in
            .filter(|seconds| *seconds > 0)
            .and_then(|seconds| now.checked_add_signed(Duration::try_seconds(seconds)?)),
        refresh_expires_at: None,
    }
}
