//! OAuth code exchange. The user token identifies the person and is then revoked.
//!
//! GitHub responds to a failed exchange with status 200 and an `error` in the body
//! (<https://docs.github.com/apps/oauth-apps/maintaining-oauth-apps/troubleshooting-oauth-app-access-token-request-errors>).

use http::{Method, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::connectors::github::GitHub;
use crate::connectors::github::client::Client;
use crate::connectors::oauth::{ClientSettings, Dialect, FlowEnd, TokenEndpoint};
use crate::connectors::{AuthorizeRequest, Callback, Finding};
use crate::http::Charge;

/// Account to which calls with user tokens are charged.
pub(super) const ACCOUNT: &str = "oauth";

/// GitHub's OAuth. A GitHub App has permissions instead of scopes.
const OAUTH: Dialect = Dialect {
    provider: "GitHub",
    code_grant_type: None,
    rejected_secret: &["incorrect_client_credentials"],
    expired_code: &["bad_verification_code"],
    denials: &[(
        "unverified_user_email",
        "Your GitHub account has no verified e-mail address.",
    )],
    ..Dialect::STANDARD
};

/// Builds the URL of the second step.
pub(super) fn authorize(github: &GitHub, request: &AuthorizeRequest) -> Url {
    let page = github.client.web(&["login", "oauth", "authorize"]);
    OAUTH.authorize_url(page, &github.app.client, request, &[], &[])
}

fn token_endpoint(github: &GitHub) -> TokenEndpoint<'_, Client> {
    TokenEndpoint {
        dialect: &OAUTH,
        api: &github.client,
        url: github.client.web(&["login", "oauth", "access_token"]),
        client: &github.app.client,
    }
}

/// Checks the OAuth client.
pub(in super::super) async fn check_client(github: &GitHub, redirect_uri: &Url) -> Finding {
    let charge = Charge::new(ACCOUNT, "check_client");
    let settings = ClientSettings {
        id: "GITHUB_CLIENT_ID",
        secret: "GITHUB_CLIENT_SECRET",
    };
    let endpoint = token_endpoint(github);
    endpoint.check_client(&charge, redirect_uri, settings).await
}

/// Exchanges a code for a user token.
pub(super) async fn exchange(
    github: &GitHub,
    callback: &Callback,
    code: &str,
) -> Result<SecretString, FlowEnd> {
    let charge = Charge::new(ACCOUNT, "exchange_code");
    let endpoint = token_endpoint(github);
    let response = endpoint.exchange_code(&charge, callback, code).await?;
    let tokens = response.into_set(github.client.now()).map_err(Err)?;
    Ok(tokens.access_token)
}

/// Revokes a user token, best effort: it is not stored and expires within hours.
pub(super) async fn revoke_token(github: &GitHub, token: &SecretString) {
    let app = &github.app.client;
    let Some(secret) = app.secrets.first() else {
        return;
    };
    let url = github.client.api(&["applications", &app.id, "token"]);
    let request = github
        .client
        .request(Method::DELETE, url)
        .basic_auth(&app.id, Some(secret.expose_secret()))
        .header(header::ACCEPT, "application/vnd.github+json")
        .json(&serde_json::json!({ "access_token": token.expose_secret() }));
    if let Err(error) = github
        .client
        .send(&Charge::new(ACCOUNT, "revoke_user_token"), request)
        .await
        && !error.is(StatusCode::NOT_FOUND)
        && !error.is(StatusCode::UNPROCESSABLE_ENTITY)
    {
        tracing::debug!(
            error = &error.cause as &dyn std::error::Error,
            "user token not revoked, leaving it to expire"
        );
    }
}
