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
use super::client::Client;
use super::wire::read;
use crate::connectors::oauth::{ClientSettings, Dialect, Encoding, TokenEndpoint};
use crate::connectors::rows::UnreadableRows;
use crate::connectors::settings::APP_ACCOUNT;
use crate::connectors::{
    Access, AccountChoice, AuthorizeRequest, Callback, CallbackOutcome, ConnectorError, Finding,
    NewGrant, RefreshRequest, TokenSet, with_new_token,
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

/// Atlassian's OAuth.
const OAUTH: Dialect = Dialect {
    provider: "Atlassian",
    encoding: Encoding::Json,
    rejected_secret: &["access_denied", "invalid_client"],
    revoked_grant: &["invalid_grant", "unauthorized_client"],
    ..Dialect::STANDARD
};

/// Lifetime of an unused refresh token.
const REFRESH_TOKEN_IDLE_TTL: Duration = Duration::days(90);

/// The authorization URL.
pub(super) fn authorize(jira: &Jira, request: &AuthorizeRequest) -> Url {
    let page = jira.client.auth_url(&["authorize"]);
    let parameters = [
        ("audience", "api.atlassian.com"),
        ("response_type", "code"),
        ("prompt", "consent"),
    ];
    OAUTH.authorize_url(page, &jira.app.client, request, SCOPES, &parameters)
}

fn token_endpoint(jira: &Jira) -> TokenEndpoint<'_, Client> {
    TokenEndpoint {
        dialect: &OAUTH,
        api: &jira.client,
        url: jira.client.auth_url(&["oauth", "token"]),
        client: &jira.app.client,
    }
}

/// Checks the OAuth client.
pub(super) async fn check_client(jira: &Jira, redirect_uri: &Url) -> Finding {
    let charge = Charge::new(APP_ACCOUNT, "check_client");
    let settings = ClientSettings {
        id: "JIRA_CLIENT_ID",
        secret: "JIRA_CLIENT_SECRET",
    };
    let endpoint = token_endpoint(jira);
    endpoint.check_client(&charge, redirect_uri, settings).await
}

/// State between the consent and the choice of a site. It is stored encrypted.
#[derive(Serialize, Deserialize)]
struct StepContext {
    access_token: String,
    refresh_token: Option<String>,
    expires_at: Option<DateTime<Utc>>,
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
    let charge = Charge::new(APP_ACCOUNT, "exchange_code");
    let tokens = match token_endpoint(jira).exchange(&charge, callback).await {
        Ok(tokens) => tokens.into_set(jira.client.now())?,
        Err(end) => return end,
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
        expires_at: tokens.expires_at,
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
        .get_with_token(&Charge::new(APP_ACCOUNT, "list_sites"), url, token)
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
            expires_at: context.expires_at,
            refresh_expires_at: refresh_expires_at(jira),
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
    let endpoint = token_endpoint(jira);
    let tokens = endpoint.refresh("refresh_token", request).await?;
    Ok(TokenSet {
        refresh_expires_at: refresh_expires_at(jira),
        ..tokens.into_set(jira.client.now())?
    })
}

fn refresh_expires_at(jira: &Jira) -> Option<DateTime<Utc>> {
    jira.client.now().checked_add_signed(REFRESH_TOKEN_IDLE_TTL)
}
