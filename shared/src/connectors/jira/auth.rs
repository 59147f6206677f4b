//! OAuth 2.0 (3LO): consent, choice of a site, and token refresh.
//!
//! A person has one grant per app: consent for another site extends the same grant. So the
//! connection is bound to one site, and the grant's other sites are never read.
//!
//! Sources: "OAuth 2.0 (3LO) apps" and "Refresh tokens" at developer.atlassian.com.

use chrono::{DateTime, Duration, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use url::Url;

use super::Jira;
use super::client::ApiError;
use super::wire::read;
use crate::connectors::error::permanent_error;
use crate::connectors::oauth;
use crate::connectors::rows::UnreadableRows;
use crate::connectors::{
    Access, AccountChoice, AuthorizeRequest, Callback, CallbackOutcome, ConnectorError, NewGrant,
    RefreshRequest, TokenSet, with_new_token,
};
use crate::http::Charge;
use crate::model::ExternalAccount;

/// Requested scopes. Sprints and boards have no classic scope.
pub(super) const SCOPES: &[&str] = &[
    "read:jira-work",
    "read:jira-user",
    "manage:jira-webhook",
    "read:sprint:jira-software",
    "read:board-scope:jira-software",
    "read:project:jira",
    "read:issue-details:jira",
    "offline_access",
];

/// Rate limit account of calls that the app makes without a site.
const APP: &str = "app";
/// Lifetime of an unused refresh token.
const REFRESH_TOKEN_IDLE_TTL: Duration = Duration::days(90);

/// The authorization URL.
pub(super) fn authorize(jira: &Jira, request: &AuthorizeRequest) -> Url {
    let mut url = jira.client.auth_url(&["authorize"]);
    url.query_pairs_mut()
        .append_pair("audience", "api.atlassian.com")
        .append_pair("client_id", &jira.app.client_id)
        .append_pair("scope", &SCOPES.join(" "))
        .append_pair("redirect_uri", request.redirect_uri.as_str())
        .append_pair("state", &request.state)
        .append_pair("response_type", "code")
        .append_pair("prompt", "consent")
        .append_pair("code_challenge", &request.code_challenge)
        .append_pair("code_challenge_method", "S256");
    url
}

/// Response of the token endpoint.
#[derive(Deserialize)]
struct Tokens {
    access_token: SecretString,
    refresh_token: Option<SecretString>,
    expires_in: i64,
}

/// State between the consent and the choice of a site. It is stored encrypted.
#[derive(Serialize, Deserialize)]
struct StepContext {
    access_token: String,
    refresh_token: Option<String>,
    expires_at: DateTime<Utc>,
    sites: Vec<Site>,
}

/// Site that the grant covers.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Site {
    id: String,
    name: String,
    url: String,
    #[serde(default)]
    scopes: Vec<String>,
}

impl Site {
    /// The site's origin, as in deliveries.
    fn origin(&self) -> String {
        self.url.trim_end_matches('/').to_owned()
    }
}

/// Handles a callback: exchanges the code, or connects the chosen site.
pub(super) async fn exchange_token(
    jira: &Jira,
    callback: &Callback,
) -> Result<CallbackOutcome, ConnectorError> {
    if let Some(context) = &callback.context {
        let context: StepContext = serde_json::from_value(context.clone())
            .map_err(|error| ConnectorError::Permanent(error.into()))?;
        let chosen = callback.param("account").unwrap_or_default().to_owned();
        // The browser's choice is valid only if it was offered.
        return match context.sites.iter().find(|site| site.id == chosen).cloned() {
            Some(site) => connect(jira, context, &site).await,
            None => Ok(CallbackOutcome::denied(
                "The chosen site was not offered. Start again.",
            )),
        };
    }
    let code = match oauth::authorization_code(callback, "Atlassian") {
        Ok(code) => code,
        Err(end) => return end,
    };
    let grant = json!({
        "grant_type": "authorization_code", "code": code,
        "redirect_uri": callback.redirect_uri.as_str(),
        "code_verifier": callback.code_verifier.expose_secret(),
    });
    let tokens = match request_tokens(jira, APP, "exchange_code", grant).await {
        Ok(tokens) => tokens,
        Err(error) if error.code == "invalid_grant" => return Ok(oauth::expired_code()),
        Err(error) => return Err(error.cause.into_app_error()),
    };
    if tokens.refresh_token.is_none() {
        return Ok(CallbackOutcome::denied(
            "Atlassian issued no refresh token, so the connection would end within an hour. Add \
             offline_access to the app's scopes and connect again.",
        ));
    }
    let token = &tokens.access_token;
    let sites = with_new_token(|| Box::pin(list_sites(jira, token))).await?;
    let context = StepContext {
        access_token: tokens.access_token.expose_secret().to_owned(),
        refresh_token: tokens
            .refresh_token
            .map(|token| token.expose_secret().to_owned()),
        expires_at: expires_at(jira.clock.now(), tokens.expires_in),
        sites,
    };
    match context.sites.as_slice() {
        [] => Ok(CallbackOutcome::denied(
            "The consent covers no Jira site. Connect with an account that has access to one.",
        )),
        [site] => {
            let site = site.clone();
            connect(jira, context, &site).await
        }
        several => Ok(CallbackOutcome::Choose {
            accounts: several
                .iter()
                .map(|site| AccountChoice {
                    id: site.id.clone(),
                    name: site.name.clone(),
                    url: Some(site.url.clone()),
                })
                .collect(),
            context: serde_json::to_value(&context)
                .map_err(|error| ConnectorError::Permanent(error.into()))?,
        }),
    }
}

/// Lists the Jira sites that the grant covers, without duplicates per product.
async fn list_sites(jira: &Jira, token: &SecretString) -> Result<Vec<Site>, ConnectorError> {
    let url = jira
        .client
        .api_url(&["oauth", "token", "accessible-resources"]);
    let response = jira
        .client
        .get_with_token(&Charge::new(APP, "list_sites"), url, token)
        .await?;
    let rows: Vec<Box<RawValue>> = response.json()?;
    // An unreadable row does not hide other sites.
    let mut sites: Vec<Site> = UnreadableRows::default()
        .read_all(rows.iter().map(AsRef::as_ref), |raw| read("site", raw))
        .into_iter()
        .map(|(site, _)| site)
        .collect();
    sites.retain(|site| site.scopes.iter().any(|scope| scope.contains("jira")));
    sites.sort_by(|a, b| a.id.cmp(&b.id));
    sites.dedup_by(|a, b| a.id == b.id);
    sites.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(sites)
}

/// Reads the current name and URL of a connection's site, which an administrator may change.
pub(super) async fn describe(
    jira: &Jira,
    access: &Access,
) -> Result<Option<ExternalAccount>, ConnectorError> {
    let sites = match list_sites(jira, &access.token).await {
        Ok(sites) => sites,
        // Without the site list the name is kept, and the webhook is still reconciled.
        Err(ConnectorError::Denied { .. } | ConnectorError::Permanent(_)) => return Ok(None),
        Err(other) => return Err(other),
    };
    let Some(site) = sites.iter().find(|site| site.id == access.account.id) else {
        return Ok(None);
    };
    let mut account = access.account.clone();
    account.name.clone_from(&site.name);
    account.settings["url"] = json!(site.origin());
    Ok(Some(account))
}

/// Builds the grant of a site, with the person's time zone.
async fn connect(
    jira: &Jira,
    context: StepContext,
    site: &Site,
) -> Result<CallbackOutcome, ConnectorError> {
    #[derive(Deserialize)]
    struct Myself {
        #[serde(rename = "accountId")]
        account_id: Option<String>,
        #[serde(rename = "timeZone")]
        time_zone: Option<String>,
    }
    let token = SecretString::from(context.access_token);
    let url = jira
        .client
        .site_url(&site.id, &["rest", "api", "3", "myself"]);
    let charge = Charge::new(&site.id, "get_myself");
    let get_myself = || jira.client.get_with_token(&charge, url.clone(), &token);
    let result = with_new_token(|| Box::pin(async { Ok(get_myself().await?) })).await;
    let response = match result {
        Ok(response) => response,
        Err(ConnectorError::Denied { .. }) => {
            return Ok(CallbackOutcome::denied(
                "Your account has no access to Jira at that site. Choose another site.",
            ));
        }
        Err(other) => return Err(other),
    };
    let myself: Myself = response.json()?;
    let origin = site.origin();
    Ok(CallbackOutcome::connected(NewGrant {
        account: ExternalAccount {
            id: site.id.clone(),
            name: site.name.clone(),
            stable_id: site.id.clone(),
            settings: json!({
                "url": origin,
                "time_zone": myself.time_zone,
                "account_id": myself.account_id,
            }),
        },
        tokens: Some(TokenSet {
            access_token: token,
            refresh_token: context.refresh_token.map(SecretString::from),
            expires_at: Some(context.expires_at),
            refresh_expires_at: jira.clock.now().checked_add_signed(REFRESH_TOKEN_IDLE_TTL),
        }),
        user_token: None,
        scopes: site.scopes.clone(),
        administrator: None,
    }))
}

/// Refreshes a token; the refresh token rotates with it.
pub(super) async fn refresh_token(
    jira: &Jira,
    request: &RefreshRequest,
) -> Result<TokenSet, ConnectorError> {
    let Some(refresh_token) = &request.refresh_token else {
        // Not a response of Atlassian, so the grant's state is unchanged.
        return Err(permanent_error(
            "the grant has no refresh token: the consent lacked offline_access",
        ));
    };
    let grant = json!({
        "grant_type": "refresh_token", "refresh_token": refresh_token.expose_secret(),
    });
    let account = &request.account.id;
    let tokens = request_tokens(jira, account, "refresh_token", grant)
        .await
        .map_err(|error| match (error.code.as_str(), error.cause) {
            (
                "invalid_grant" | "unauthorized_client",
                ConnectorError::Denied { source, .. }
                | ConnectorError::Permanent(source)
                | ConnectorError::Unauthorized(source),
            ) => ConnectorError::GrantRevoked(source),
            // A wrong client secret is an operator's error and does not revoke the grant.
            (_, other) => other.into_app_error(),
        })?;
    let now = jira.clock.now();
    Ok(TokenSet {
        expires_at: Some(expires_at(now, tokens.expires_in)),
        refresh_expires_at: now.checked_add_signed(REFRESH_TOKEN_IDLE_TTL),
        access_token: tokens.access_token,
        refresh_token: tokens.refresh_token,
    })
}

/// Calls the token endpoint with each client secret until one is accepted.
async fn request_tokens(
    jira: &Jira,
    account: &str,
    operation: &'static str,
    grant: serde_json::Value,
) -> Result<Tokens, ApiError> {
    let mut rejected_secret = ApiError::from(permanent_error("no client secret is configured"));
    for secret in &jira.app.client_secrets {
        let mut body = grant.clone();
        body["client_id"] = json!(jira.app.client_id);
        body["client_secret"] = json!(secret.expose_secret());
        let charge = Charge::new(account, operation);
        match jira.client.request_token(&charge, &body).await {
            Ok(response) => return Ok(response.json()?),
            Err(error) if matches!(error.code.as_str(), "access_denied" | "invalid_client") => {
                rejected_secret = error;
            }
            Err(error) => return Err(error),
        }
    }
    Err(rejected_secret)
}

fn expires_at(now: DateTime<Utc>, seconds: i64) -> DateTime<Utc> {
    Duration::try_seconds(seconds.max(0))
        .and_then(|ttl| now.checked_add_signed(ttl))
        .unwrap_or(now)
}
