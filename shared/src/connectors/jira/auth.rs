//! OAuth 2.0 (3LO): a person consents, the grant covers sites, one of them is connected.
//!
//! Sources: "OAuth 2.0 (3LO) apps" and "Refresh tokens" at developer.atlassian.com. One person
//! has one grant per app: consenting again for another site adds it to the same grant. So the
//! site is chosen and pinned, and a grant's other sites are never read.

use chrono::{DateTime, Duration, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use url::Url;

use super::Jira;
use super::client::Refusal;
use super::wire::read;
use crate::connectors::rows::UnreadableRows;
use crate::connectors::support::{self, operator_fault};
use crate::connectors::{
    Access, AccountChoice, AuthorizeRequest, Callback, CallbackOutcome, ConnectorError,
    ExternalAccount, NewGrant, RefreshRequest, TokenSet, with_new_token,
};
use crate::http::Charge;

/// What is asked of the person. Sprints and boards have no classic scope.
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

/// The account under which calls of the app itself are counted.
const APP: &str = "app";
/// A refresh token that is not used for so long ends.
const IDLE_LIFE: Duration = Duration::days(90);

/// Where the browser goes.
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

/// The token endpoint's answer.
#[derive(Deserialize)]
struct Tokens {
    access_token: SecretString,
    refresh_token: Option<SecretString>,
    expires_in: i64,
}

/// What a leg leaves to the one in which the site is chosen. It is stored sealed.
#[derive(Serialize, Deserialize)]
struct Carry {
    access_token: String,
    refresh_token: Option<String>,
    expires_at: DateTime<Utc>,
    sites: Vec<Site>,
}

/// A site that the grant covers.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Site {
    id: String,
    name: String,
    url: String,
    #[serde(default)]
    scopes: Vec<String>,
}

impl Site {
    /// The site's address, as deliveries name it.
    fn origin(&self) -> String {
        self.url.trim_end_matches('/').to_owned()
    }
}

/// Takes the redirect: exchanges the code, or takes the choice of a site.
pub(super) async fn exchange_token(
    jira: &Jira,
    callback: &Callback,
) -> Result<CallbackOutcome, ConnectorError> {
    if let Some(carry) = &callback.carry {
        let carry: Carry = serde_json::from_value(carry.clone())
            .map_err(|error| ConnectorError::Permanent(error.into()))?;
        let chosen = callback.param("account").unwrap_or_default().to_owned();
        // What the browser brings is believed only if it was offered.
        return match carry.sites.iter().find(|site| site.id == chosen).cloned() {
            Some(site) => connect(jira, carry, &site).await,
            None => Ok(CallbackOutcome::denied(
                "That site was not among those to choose from.",
            )),
        };
    }
    let code = match support::code(callback, "Atlassian") {
        Ok(code) => code,
        Err(end) => return end,
    };
    let grant = json!({
        "grant_type": "authorization_code", "code": code,
        "redirect_uri": callback.redirect_uri.as_str(),
        "code_verifier": callback.code_verifier.expose_secret(),
    });
    let tokens = match ask(jira, APP, "exchange_code", grant).await {
        Ok(tokens) => tokens,
        Err(refusal) if refusal.code == "invalid_grant" => return Ok(support::code_is_over()),
        Err(refusal) => return Err(refusal.error.of_the_app()),
    };
    if tokens.refresh_token.is_none() {
        return Ok(CallbackOutcome::denied(
            "Atlassian gave no refresh token, so the connection would end within an hour. Add \
             offline_access to the app's scopes and connect again.",
        ));
    }
    let token = &tokens.access_token;
    let sites = with_new_token(|| Box::pin(sites(jira, token))).await?;
    let carry = Carry {
        access_token: tokens.access_token.expose_secret().to_owned(),
        refresh_token: tokens
            .refresh_token
            .map(|token| token.expose_secret().to_owned()),
        expires_at: expires_at(jira.clock.now(), tokens.expires_in),
        sites,
    };
    match carry.sites.as_slice() {
        [] => Ok(CallbackOutcome::denied(
            "The consent covers no Jira site that you have access to.",
        )),
        [site] => {
            let site = site.clone();
            connect(jira, carry, &site).await
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
            carry: serde_json::to_value(&carry)
                .map_err(|error| ConnectorError::Permanent(error.into()))?,
        }),
    }
}

/// The Jira sites that the grant covers. The same site may be listed once per product.
async fn sites(jira: &Jira, token: &SecretString) -> Result<Vec<Site>, ConnectorError> {
    let url = jira
        .client
        .api_url(&["oauth", "token", "accessible-resources"]);
    let answer = jira
        .client
        .get_own(&Charge::new(APP, "list_sites"), url, token)
        .await?;
    let rows: Vec<Box<RawValue>> = answer.json()?;
    // A site whose row cannot be read hides no other.
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

/// A connection's site as it is now: people give sites other names, and with them other addresses.
pub(super) async fn describe(
    jira: &Jira,
    access: &Access,
) -> Result<Option<ExternalAccount>, ConnectorError> {
    let sites = match sites(jira, &access.token).await {
        Ok(sites) => sites,
        // It is not said, and the webhook is worth more than its name.
        Err(ConnectorError::Permission(_) | ConnectorError::Permanent(_)) => return Ok(None),
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

/// Makes the grant one of the site, whose person's time zone is asked for on the way.
async fn connect(
    jira: &Jira,
    carry: Carry,
    site: &Site,
) -> Result<CallbackOutcome, ConnectorError> {
    #[derive(Deserialize)]
    struct Myself {
        #[serde(rename = "accountId")]
        account_id: Option<String>,
        #[serde(rename = "timeZone")]
        time_zone: Option<String>,
    }
    let token = SecretString::from(carry.access_token);
    let url = jira
        .client
        .site_url(&site.id, &["rest", "api", "3", "myself"]);
    let charge = Charge::new(&site.id, "get_myself");
    let ask = || jira.client.get_own(&charge, url.clone(), &token);
    let asked = with_new_token(|| Box::pin(async { Ok(ask().await?) })).await;
    let answer = match asked {
        Ok(answer) => answer,
        Err(ConnectorError::Permission(_)) => {
            return Ok(CallbackOutcome::denied(
                "You have no access to Jira at that site.",
            ));
        }
        Err(other) => return Err(other),
    };
    let myself: Myself = answer.json()?;
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
            refresh_token: carry.refresh_token.map(SecretString::from),
            expires_at: Some(carry.expires_at),
            refresh_expires_at: jira.clock.now().checked_add_signed(IDLE_LIFE),
        }),
        person: None,
        scopes: site.scopes.clone(),
        administrator: None,
    }))
}

/// Renews a token. The refresh token changes with it.
pub(super) async fn refresh_token(
    jira: &Jira,
    request: &RefreshRequest,
) -> Result<TokenSet, ConnectorError> {
    let Some(refresh_token) = &request.refresh_token else {
        // Atlassian has said nothing of the grant.
        return Err(operator_fault(
            "the grant has no refresh token: the consent lacked offline_access",
        ));
    };
    let grant = json!({
        "grant_type": "refresh_token", "refresh_token": refresh_token.expose_secret(),
    });
    let account = &request.account.id;
    let tokens = ask(jira, account, "refresh_token", grant)
        .await
        .map_err(|refusal| match (refusal.code.as_str(), refusal.error) {
            (
                "invalid_grant" | "unauthorized_client",
                ConnectorError::Permission(source)
                | ConnectorError::Permanent(source)
                | ConnectorError::Unauthorized(source),
            ) => ConnectorError::GrantRevoked(source),
            // The client's secret is wrong: the operator's mistake ends no grant.
            (_, other) => other.of_the_app(),
        })?;
    let now = jira.clock.now();
    Ok(TokenSet {
        expires_at: Some(expires_at(now, tokens.expires_in)),
        refresh_expires_at: now.checked_add_signed(IDLE_LIFE),
        access_token: tokens.access_token,
        refresh_token: tokens.refresh_token,
    })
}

/// Asks the token endpoint, with whichever client secret is valid.
async fn ask(
    jira: &Jira,
    account: &str,
    operation: &'static str,
    grant: serde_json::Value,
) -> Result<Tokens, Refusal> {
    let mut wrong_secret = Refusal::from(operator_fault("no client secret is configured"));
    for secret in &jira.app.client_secrets {
        let mut body = grant.clone();
        body["client_id"] = json!(jira.app.client_id);
        body["client_secret"] = json!(secret.expose_secret());
        let charge = Charge::new(account, operation);
        match jira.client.token(&charge, &body).await {
            Ok(answer) => return Ok(answer.json()?),
            Err(refusal) if matches!(refusal.code.as_str(), "access_denied" | "invalid_client") => {
                wrong_secret = refusal;
            }
            Err(refusal) => return Err(refusal),
        }
    }
    Err(wrong_secret)
}

fn expires_at(now: DateTime<Utc>, seconds: i64) -> DateTime<Utc> {
    Duration::try_seconds(seconds.max(0))
        .and_then(|life| now.checked_add_signed(life))
        .unwrap_or(now)
}
