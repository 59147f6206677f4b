//! OAuth v2: a bot is installed into a workspace, or into a whole organization. Whoever installs
//! it may be asked for a token of their own besides, which rotates by itself.
//!
//! Sources: "Installing with OAuth" and "Using token rotation" at docs.slack.dev. PKCE is left
//! off: it would make the app a public client for good.

use chrono::{DateTime, Duration, Utc};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::Slack;
use super::client::{Proof, Refusal};
use crate::connectors::support::{self, operator_fault};
use crate::connectors::{
    AuthorizeRequest, Callback, CallbackOutcome, ConnectorError, ExternalAccount, Grant,
    GrantState, NewGrant, RefreshRequest, TokenSet, with_new_token,
};
use crate::http::Charge;

/// What is asked of the workspace.
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

/// The account under which calls of the app itself are counted.
const APP: &str = "app";
const TOKEN_METHOD: &str = "oauth.v2.access";

/// Where the browser goes.
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

/// The token endpoint's answer.
#[derive(Deserialize)]
struct Tokens {
    access_token: Option<SecretString>,
    refresh_token: Option<SecretString>,
    expires_in: Option<i64>,
    scope: Option<String>,
    bot_user_id: Option<String>,
    app_id: Option<String>,
    team: Option<Named>,
    enterprise: Option<Named>,
    #[serde(default)]
    is_enterprise_install: bool,
    authed_user: Option<Person>,
}

/// Who installed the app, and the token that they gave, if any.
#[derive(Default, Deserialize)]
struct Person {
    id: Option<String>,
    access_token: Option<SecretString>,
    refresh_token: Option<SecretString>,
    expires_in: Option<i64>,
}

#[derive(Deserialize)]
struct Named {
    id: String,
    name: Option<String>,
}

/// Who a token is, as `auth.test` tells.
#[derive(Deserialize)]
struct Identity {
    url: Option<String>,
    team: Option<String>,
}

/// Takes the redirect: exchanges the code, and asks who it stands for.
pub(super) async fn exchange_token(
    slack: &Slack,
    callback: &Callback,
) -> Result<CallbackOutcome, ConnectorError> {
    let code = match support::code(callback, "Slack") {
        Ok(code) => code,
        Err(end) => return end,
    };
    let arguments = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", callback.redirect_uri.as_str()),
    ];
    let tokens = match ask(slack, APP, &arguments).await {
        Ok(tokens) => tokens,
        Err(refusal) if matches!(refusal.code.as_str(), "invalid_code" | "code_already_used") => {
            return Ok(support::code_is_over());
        }
        Err(refusal) if refusal.code == "cannot_install_an_org_installed_app" => {
            return Ok(CallbackOutcome::denied(
                "The app is installed for the whole organization; connect the organization.",
            ));
        }
        Err(refusal) => return Err(refusal.error.of_the_app()),
    };
    if let (Some(ours), Some(theirs)) = (&slack.app.app_id, &tokens.app_id)
        && ours != theirs
    {
        return Err(operator_fault("the client id belongs to another Slack app"));
    }
    let Some(token) = tokens.access_token.clone() else {
        return Ok(CallbackOutcome::denied(
            "The installation has no bot; please install the app with its bot.",
        ));
    };
    grant(slack, token, tokens)
        .await
        .map(CallbackOutcome::connected)
}

/// The grant of the bot that holds this token.
async fn grant(
    slack: &Slack,
    token: SecretString,
    tokens: Tokens,
) -> Result<NewGrant, ConnectorError> {
    let organization = tokens.is_enterprise_install;
    let place = if organization {
        tokens.enterprise
    } else {
        tokens.team
    };
    let place = place
        .filter(|place| !place.id.is_empty())
        .ok_or_else(|| operator_fault("Slack names no workspace"))?;
    let charge = Charge::new(&place.id, "auth.test");
    let ask = || slack.client.call(&charge, Proof::Bearer(&token), &[]);
    let answer = with_new_token(|| Box::pin(async { Ok(ask().await?) })).await?;
    let identity: Identity = answer.json()?;
    let now = slack.clock.now();
    let person = tokens.authed_user.unwrap_or_default();
    Ok(NewGrant {
        account: ExternalAccount {
            name: place
                .name
                .or(identity.team)
                .unwrap_or_else(|| place.id.clone()),
            stable_id: place.id.clone(),
            settings: json!({
                "url": identity.url,
                "bot_user_id": tokens.bot_user_id,
                "installer_id": person.id,
                "organization": organization,
            }),
            id: place.id,
        },
        tokens: Some(token_set(
            now,
            token,
            tokens.refresh_token,
            tokens.expires_in,
        )),
        person: person
            .access_token
            .map(|token| token_set(now, token, person.refresh_token, person.expires_in)),
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

/// Renews a token of an app with token rotation. Without rotation there is nothing to renew, so
/// Slack is asked about the token there is.
pub(super) async fn refresh_token(
    slack: &Slack,
    request: &RefreshRequest,
) -> Result<TokenSet, ConnectorError> {
    use secrecy::ExposeSecret;
    let Some(refresh_token) = &request.refresh_token else {
        return confirm(slack, request).await;
    };
    let arguments = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh_token.expose_secret()),
    ];
    let tokens = ask(slack, &request.account.id, &arguments)
        .await
        .map_err(word_on_grant)?;
    let access_token = tokens
        .access_token
        .ok_or_else(|| operator_fault("Slack's answer holds no token"))?;
    Ok(token_set(
        slack.clock.now(),
        access_token,
        tokens.refresh_token,
        tokens.expires_in,
    ))
}

/// The same token again, if Slack still accepts it.
async fn confirm(slack: &Slack, request: &RefreshRequest) -> Result<TokenSet, ConnectorError> {
    let Some(token) = &request.access_token else {
        // Slack has said nothing of the grant.
        return Err(operator_fault("no token of the grant is stored"));
    };
    let charge = Charge::new(&request.account.id, "auth.test");
    slack
        .client
        .call(&charge, Proof::Bearer(token), &[])
        .await
        .map_err(word_on_grant)?;
    Ok(token_set(slack.clock.now(), token.clone(), None, None))
}

/// Slack's words that say that a grant is gone. `invalid_auth` is none of them: it also refuses
/// addresses that a workspace does not allow.
fn word_on_grant(refusal: Refusal) -> ConnectorError {
    match (refusal.code.as_str(), refusal.error) {
        (
            "token_revoked" | "account_inactive" | "token_expired" | "invalid_refresh_token",
            ConnectorError::Unauthorized(source),
        ) => ConnectorError::GrantRevoked(source),
        (_, other) => other,
    }
}

/// Whether Slack still accepts the bot's token. Where a delivery says that the token or the app is
/// gone, `invalid_auth` confirms it; any other refusal says nothing of the grant.
pub(super) async fn grant_state(
    slack: &Slack,
    grant: &Grant,
) -> Result<GrantState, ConnectorError> {
    let Some(token) = &grant.access_token else {
        return Err(operator_fault("no token of the grant is stored"));
    };
    let charge = Charge::new(&grant.account.id, "auth.test");
    match slack.client.call(&charge, Proof::Bearer(token), &[]).await {
        Ok(_) => Ok(GrantState::Active),
        Err(refusal) => match refusal.code.as_str() {
            "token_revoked" | "invalid_auth" => Ok(GrantState::Revoked),
            "account_inactive" => Ok(GrantState::Removed),
            _ => Err(refusal.error),
        },
    }
}

/// Uninstalls the app from the workspace, and the bot's token with it.
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
        .call(&charge, Proof::Bearer(token), &arguments)
        .await;
    match uninstalled {
        Ok(_) => Ok(()),
        // The token is gone already, and nothing can be done with it.
        Err(refusal) if matches!(refusal.error, ConnectorError::Unauthorized(_)) => Ok(()),
        Err(refusal) => Err(refusal.error),
    }
}

/// Asks the token endpoint, with whichever client secret is valid.
async fn ask(slack: &Slack, account: &str, arguments: &[(&str, &str)]) -> Result<Tokens, Refusal> {
    let mut wrong_secret = Refusal::from(operator_fault("no client secret is configured"));
    for secret in &slack.app.client_secrets {
        let proof = Proof::Client(&slack.app.client_id, secret);
        let charge = Charge::new(account, TOKEN_METHOD);
        match slack.client.call(&charge, proof, arguments).await {
            Ok(answer) => return Ok(answer.json()?),
            Err(refusal) if matches!(refusal.code.as_str(), "bad_client_secret") => {
                wrong_secret = refusal;
            }
            Err(refusal) => return Err(refusal),
        }
    }
    Err(wrong_secret)
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
