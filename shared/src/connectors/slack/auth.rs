//! OAuth v2: installation of the bot, token refresh and revocation.
//!
//! The bot is installed into a workspace or an organization. The installer may also grant a user
//! token, which has a rotation separate from the bot's.
//!
//! Sources: "Installing with OAuth" and "Using token rotation" at docs.slack.dev. PKCE is not
//! used: it would permanently make the app a public client.

use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::Slack;
use super::client::Client;
use crate::connectors::error::permanent_error;
use crate::connectors::oauth::{
    ClientAuthentication, ClientSettings, Dialect, IssuedTokens, TokenEndpoint, TokenResponse,
};
use crate::connectors::settings::APP_ACCOUNT;
use crate::connectors::{
    AuthorizeRequest, Callback, CallbackOutcome, ConnectorError, Finding, Grant, GrantState,
    NewGrant, RefreshRequest, TokenSet, UserToken, with_new_token,
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

const TOKEN_METHOD: &str = "oauth.v2.access";

/// Slack's OAuth.
///
/// `invalid_auth` does not state that a grant is revoked: Slack also sends it for IP addresses that
/// a workspace does not allow.
const OAUTH: Dialect = Dialect {
    provider: "Slack",
    scope_separator: ",",
    uses_pkce: false,
    authentication: ClientAuthentication::Basic,
    rejected_secret: &["bad_client_secret"],
    expired_code: &["invalid_code", "code_already_used"],
    denials: &[(
        "cannot_install_an_org_installed_app",
        "The app is installed for the whole organization. Connect the organization.",
    )],
    revoked_grant: &[
        "token_revoked",
        "account_inactive",
        "token_expired",
        "invalid_refresh_token",
    ],
    ..Dialect::STANDARD
};

/// The authorization URL.
pub(super) fn authorize(slack: &Slack, request: &AuthorizeRequest) -> Url {
    let page = slack.client.url(&["oauth", "v2", "authorize"]);
    let user_scopes = slack.app.user_scopes.join(OAUTH.scope_separator);
    let parameters = [("user_scope", user_scopes.as_str())];
    OAUTH.authorize_url(page, &slack.app.client, request, SCOPES, &parameters)
}

fn token_endpoint(slack: &Slack) -> TokenEndpoint<'_, Client> {
    TokenEndpoint {
        dialect: &OAUTH,
        api: &slack.client,
        url: slack.client.method_url(TOKEN_METHOD),
        client: &slack.app.client,
    }
}

/// Checks the OAuth client.
pub(super) async fn check_client(slack: &Slack, redirect_uri: &Url) -> Finding {
    let charge = Charge::new(APP_ACCOUNT, TOKEN_METHOD);
    let settings = ClientSettings {
        id: "SLACK_CLIENT_ID",
        secret: "SLACK_CLIENT_SECRET",
    };
    let endpoint = token_endpoint(slack);
    endpoint.check_client(&charge, redirect_uri, settings).await
}

/// Slack's own fields in the response of the token endpoint.
#[derive(Deserialize)]
struct Installation {
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
    #[serde(flatten)]
    tokens: IssuedTokens,
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
    let charge = Charge::new(APP_ACCOUNT, TOKEN_METHOD);
    let response = match token_endpoint(slack).exchange(&charge, callback).await {
        Ok(response) => response,
        Err(end) => return end,
    };
    let installation: Installation = response.fields()?;
    if let (Some(ours), Some(theirs)) = (&slack.app.app_id, &installation.app_id)
        && ours != theirs
    {
        return Err(permanent_error(
            "the client id belongs to another Slack app",
        ));
    }
    if !response.has_access_token() {
        return Ok(CallbackOutcome::denied(
            "The installation has no bot. Install the app with its bot.",
        ));
    }
    grant(slack, response, installation)
        .await
        .map(CallbackOutcome::connected)
}

/// Builds the grant of a new bot token.
async fn grant(
    slack: &Slack,
    response: TokenResponse,
    installation: Installation,
) -> Result<NewGrant, ConnectorError> {
    let organization = installation.is_enterprise_install;
    let target = if organization {
        installation.enterprise
    } else {
        installation.team
    };
    let target = target
        .filter(|target| !target.id.is_empty())
        .ok_or_else(|| permanent_error("the token response names no workspace"))?;
    let now = slack.client.now();
    let scopes = response.scopes();
    let tokens = response.into_set(now)?;
    let charge = Charge::new(&target.id, "auth.test");
    let test_auth = || slack.client.call(&charge, &tokens.access_token, &[]);
    let response = with_new_token(|| Box::pin(async { Ok(test_auth().await?) })).await?;
    let identity: Identity = response.json()?;
    let installer = installation.authed_user.unwrap_or_default();
    Ok(NewGrant {
        account: ExternalAccount {
            name: target
                .name
                .or(identity.team)
                .unwrap_or_else(|| target.id.clone()),
            stable_id: target.id.clone(),
            settings: json!({
                "url": identity.url,
                "bot_user_id": installation.bot_user_id,
                "installer_id": installer.id,
                "organization": organization,
            }),
            id: target.id,
        },
        tokens: Some(tokens),
        user_token: installer
            .id
            .filter(|id| !id.is_empty())
            .zip(installer.tokens.into_set(now))
            .map(|(user_id, tokens)| UserToken { user_id, tokens }),
        scopes,
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
    if request.refresh_token.is_none() {
        return verify_token(slack, request).await;
    }
    let response = token_endpoint(slack).refresh(TOKEN_METHOD, request).await?;
    response.into_set(slack.client.now())
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
        .call(&charge, token, &[])
        .await
        .map_err(|error| OAUTH.map_grant_error(error))?;
    Ok(TokenSet {
        access_token: token.clone(),
        refresh_token: None,
        expires_at: None,
        refresh_expires_at: None,
    })
}

/// Checks whether Slack still accepts the bot's token.
///
/// `invalid_auth` leaves the state unknown: Slack also sends it for IP addresses that it blocks.
pub(super) async fn fetch_grant_state(
    slack: &Slack,
    grant: &Grant,
) -> Result<GrantState, ConnectorError> {
    let Some(token) = &grant.access_token else {
        return Err(permanent_error("no token of the grant is stored"));
    };
    let charge = Charge::new(&grant.account.id, "auth.test");
    match slack.client.call(&charge, token, &[]).await {
        Ok(_) => Ok(GrantState::Active),
        Err(error) => match error.code.as_str() {
            "token_revoked" => Ok(GrantState::Revoked),
            "account_inactive" => Ok(GrantState::Removed),
            _ => Err(error.cause),
        },
    }
}

/// Uninstalls the app from the workspace, which revokes the bot's token.
pub(super) async fn revoke(slack: &Slack, grant: &Grant) -> Result<(), ConnectorError> {
    let app = &slack.app.client;
    let (Some(token), Some(secret)) = (&grant.access_token, app.secrets.first()) else {
        return Ok(());
    };
    let arguments = [
        ("client_id", app.id.as_str()),
        ("client_secret", secret.expose_secret()),
    ];
    let charge = Charge::new(&grant.account.id, "apps.uninstall");
    match slack.client.call(&charge, token, &arguments).await {
        Ok(_) => Ok(()),
        // The token is already revoked.
        Err(error) if matches!(error.cause, ConnectorError::Unauthorized(_)) => Ok(()),
        Err(error) => Err(error.cause),
    }
}
