//! OAuth 2.0 with data centers: consent, identity of the person, refresh and revocation.
//!
//! A consent begins in the data center where the client is registered, and the redirect names the
//! one in which the account lives. The code and the client's secret go there, so the redirect,
//! which anyone can forge, is trusted only if the table of data centers confirms it. The
//! domain in the token response confirms it once more, and again at each refresh.
//!
//! Sources: "Web Server Applications" and "Multi-DC" at zoho.com (accounts/protocol/oauth).

use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::client::Client;
use super::data_center::{DATA_CENTER, DataCenter, ZUID, is_url};
use super::product::{PROFILE, Product};
use super::settings::{Site, ZohoApp};
use crate::connectors::error::permanent_error;
use crate::connectors::oauth::{ClientAnswer, Dialect, FlowEnd, TokenEndpoint, expires_at};
use crate::connectors::settings::{APP_ACCOUNT, url_below};
use crate::connectors::wire::{id, text};
use crate::connectors::{
    AuthorizeRequest, Callback, CallbackOutcome, ConnectorError, Grant, RefreshRequest, TokenSet,
    with_new_token,
};
use crate::http::Charge;
use crate::model::ExternalAccount;

/// Name of the API domain in an account's settings.
const API_DOMAIN: &str = "api_domain";

/// Parameters of a redirect that name the account's data center.
const LOCATION: &str = "location";
const ACCOUNTS_SERVER: &str = "accounts-server";

/// Codes of a token that no longer exists.
const ENDED: &[&str] = &["invalid_token", "invalid_code"];

/// Zoho's OAuth.
const OAUTH: Dialect = Dialect {
    provider: "Zoho",
    scope_separator: ",",
    rejected_secret: &["invalid_client", "invalid_client_secret"],
    expired_code: &["invalid_code"],
    revoked_grant: &["invalid_code"],
    ..Dialect::STANDARD
};

/// A person's consent to a product.
#[derive(Debug)]
pub(in crate::connectors) struct Consent {
    /// The tokens.
    pub tokens: TokenSet,
    /// The granted scopes, spelled as requested.
    pub scopes: Vec<String>,
    /// The account of the person.
    pub account: ExternalAccount,
}

impl Consent {
    /// The end of a flow whose further calls failed: the grant is revoked.
    pub(in crate::connectors) fn failed(self, error: ConnectorError) -> CallbackOutcome {
        CallbackOutcome::Failed {
            error,
            grant: Box::new(self.into_grant()),
        }
    }

    /// The grant, to be revoked.
    pub(in crate::connectors) fn into_grant(self) -> Grant {
        Grant {
            account: self.account,
            access_token: Some(self.tokens.access_token),
            refresh_token: self.tokens.refresh_token,
        }
    }
}

/// A person.
#[derive(Debug, Default, Deserialize)]
struct Identity {
    /// The id, which is unique within a data center.
    #[serde(rename = "ZUID", default, deserialize_with = "id")]
    zuid: Option<String>,
    #[serde(rename = "Email", default, deserialize_with = "text")]
    email: Option<String>,
    #[serde(rename = "Display_Name", default, deserialize_with = "text")]
    name: Option<String>,
}

/// Fields of a token response that other providers do not have.
#[derive(Debug, Default, Deserialize)]
struct Issued {
    #[serde(default, deserialize_with = "text")]
    api_domain: Option<String>,
    /// The lifetime in seconds; `expires_in` has then been seen in milliseconds.
    #[serde(default)]
    expires_in_sec: Value,
}

/// Authorization for a product.
pub(in crate::connectors) struct Zoho<'a> {
    pub app: &'a ZohoApp,
    pub client: &'a Client,
    pub product: &'static Product,
}

impl<'a> Zoho<'a> {
    /// The URL of the consent page.
    pub(in crate::connectors) fn authorize(
        &self,
        request: &AuthorizeRequest,
    ) -> Result<Url, ConnectorError> {
        let site = self.app.site(self.app.home)?;
        let page = url_below(&site.hosts.accounts, &["oauth", "v2", "auth"]);
        let parameters = [
            ("response_type", "code"),
            ("access_type", "offline"),
            // Otherwise only the first consent has a refresh token.
            ("prompt", "consent"),
        ];
        Ok(OAUTH.authorize_url(
            page,
            &site.client,
            request,
            self.product.scopes,
            &parameters,
        ))
    }

    fn token_endpoint(&self, site: &'a Site) -> TokenEndpoint<'a, Client> {
        TokenEndpoint {
            dialect: &OAUTH,
            api: self.client,
            url: url_below(&site.hosts.accounts, &["oauth", "v2", "token"]),
            client: &site.client,
        }
    }

    /// Asks a data center whether it knows the client, with each of its secrets there.
    pub(super) async fn probe_client(
        &self,
        site: &'a Site,
        redirect_uri: &Url,
    ) -> Vec<ClientAnswer> {
        let charge = Charge::new(APP_ACCOUNT, "check_client");
        let endpoint = self.token_endpoint(site);
        endpoint.probe_client(&charge, redirect_uri).await
    }

    /// Exchanges the code of a redirect, and rejects a consent that gives no useful access.
    pub(in crate::connectors) async fn exchange(
        &self,
        callback: &Callback,
    ) -> Result<Consent, FlowEnd> {
        let site = self.redirected_from(callback)?;
        let charge = Charge::new(APP_ACCOUNT, "exchange_code");
        let response = self
            .token_endpoint(site)
            .exchange(&charge, callback)
            .await?;
        let scopes = response.granted(self.product.scopes, str::eq_ignore_ascii_case);
        let issued: Issued = response.fields().map_err(Err)?;
        let tokens = response.into_set(self.client.now()).map_err(Err)?;
        let mut consent = Consent {
            tokens: self.with_lifetime(tokens, &issued),
            scopes,
            account: account(site, None, issued.api_domain.as_deref()),
        };
        if let Err(error) = self.verify_domain(site, &Value::Null, &issued) {
            tracing::warn!(error = &error as &dyn std::error::Error, "consent rejected");
            let reason =
                "Zoho's answer names another data center than its redirect. Connect again.";
            return Err(Ok(CallbackOutcome::rejected(reason, consent.into_grant())));
        }
        let identity = match self.identity(site, &consent.tokens).await {
            Ok(identity) => identity,
            Err(ConnectorError::Denied { .. }) => return Err(Ok(self.withheld(consent))),
            Err(error) => return Err(Ok(consent.failed(error))),
        };
        consent.account = account(site, Some(identity), issued.api_domain.as_deref());
        let is_granted = |scope: &&str| consent.scopes.iter().any(|granted| granted == scope);
        if self.product.needed.iter().all(is_granted) {
            Ok(consent)
        } else {
            Err(Ok(self.withheld(consent)))
        }
    }

    /// The outcome of a consent without a needed scope.
    fn withheld(&self, consent: Consent) -> CallbackOutcome {
        let reason = format!(
            "You did not allow the app to {}. Connect again and accept every permission on Zoho's \
             page.",
            self.product.access
        );
        CallbackOutcome::rejected(reason, consent.into_grant())
    }

    /// The data center that a redirect comes from.
    ///
    /// Only a pair that the table has is accepted: the code and the client's secret go to it.
    fn redirected_from(&self, callback: &Callback) -> Result<&'a Site, FlowEnd> {
        let home = self.app.site(self.app.home).map_err(Err)?;
        let values = |name: &str| -> Vec<&str> {
            let named = callback.query.iter().filter(|(key, _)| key == name);
            named.map(|(_, value)| value.as_str()).collect()
        };
        // A denial has no code to exchange.
        if callback.param("error").is_some() {
            return Ok(home);
        }
        let site = match (&values(LOCATION)[..], &values(ACCOUNTS_SERVER)[..]) {
            ([], []) => return Ok(home),
            ([location], [server]) => DataCenter::parse(location)
                .and_then(|data_center| self.app.site(data_center).ok())
                .filter(|site| is_url(server, &site.hosts.accounts)),
            _ => None,
        };
        site.ok_or_else(|| {
            tracing::warn!(
                product = self.product.name,
                "redirect rejected: its accounts server is not the one of its data center"
            );
            Ok(CallbackOutcome::denied(
                "The redirect does not name a data center of Zoho, so the authorization was not \
                 used. Start again, at this app's own link.",
            ))
        })
    }

    async fn identity(&self, site: &Site, tokens: &TokenSet) -> Result<Identity, ConnectorError> {
        let url = url_below(&site.hosts.accounts, &["oauth", "user", "info"]);
        let charge = Charge::new(APP_ACCOUNT, "get_user_info");
        let token = &tokens.access_token;
        let get = || {
            self.client
                .get_with_token(&charge, url.clone(), token, PROFILE)
        };
        let response = with_new_token(|| Box::pin(async { Ok(get().await?) })).await?;
        let identity: Identity = response.json()?;
        if identity.zuid.is_none() {
            return Err(permanent_error("Zoho's user info names no ZUID"));
        }
        Ok(identity)
    }

    /// Refreshes a token. The refresh token stays the same.
    pub(in crate::connectors) async fn refresh(
        &self,
        request: &RefreshRequest,
    ) -> Result<TokenSet, ConnectorError> {
        let site = self.app.site_of(&request.account)?;
        let endpoint = self.token_endpoint(site);
        let response = endpoint.refresh("refresh_token", request).await?;
        let issued: Issued = response.fields()?;
        self.verify_domain(site, &request.account.settings[API_DOMAIN], &issued)
            .inspect_err(|error| {
                tracing::error!(
                    product = self.product.name,
                    account.id = request.account.id,
                    error = error as &dyn std::error::Error,
                    "refreshed token discarded"
                );
            })?;
        let tokens = response.into_set(self.client.now())?;
        Ok(self.with_lifetime(tokens, &issued))
    }

    /// Verifies that a response names no other data center than the account's.
    ///
    /// A domain that the table lacks counts as the account's data center, unless it has changed.
    fn verify_domain(
        &self,
        site: &Site,
        kept: &Value,
        issued: &Issued,
    ) -> Result<(), ConnectorError> {
        let Some(stated) = issued.api_domain.as_deref() else {
            return Ok(());
        };
        if is_url(stated, &site.hosts.api) {
            return Ok(());
        }
        let other = self
            .app
            .sites
            .iter()
            .find(|one| is_url(stated, &one.hosts.api));
        let named = match (other, kept.as_str()) {
            (Some(other), _) => other.data_center.code(),
            (None, Some(kept)) if kept != stated => "an unknown one",
            (None, _) => return Ok(()),
        };
        Err(permanent_error(format!(
            "the token response names another data center ({named}) than the account's ({})",
            site.data_center.code()
        )))
    }

    /// The tokens with the lifetime that is stated in seconds.
    fn with_lifetime(&self, mut tokens: TokenSet, issued: &Issued) -> TokenSet {
        if let Some(end) = expires_at(&issued.expires_in_sec, self.client.now()) {
            tokens.expires_at = Some(end);
        }
        tokens
    }

    /// Revokes the refresh token of a grant, and the access tokens made from it.
    pub(in crate::connectors) async fn revoke(&self, grant: &Grant) -> Result<(), ConnectorError> {
        let token = grant.refresh_token.as_ref().or(grant.access_token.as_ref());
        let Some(token) = token else {
            return Ok(());
        };
        let site = self.app.site_of(&grant.account)?;
        let mut url = url_below(&site.hosts.accounts, &["oauth", "v2", "token", "revoke"]);
        url.query_pairs_mut()
            .append_pair("token", token.expose_secret());
        let charge = Charge::new(APP_ACCOUNT, "revoke_token");
        match self.client.post(&charge, url).await {
            Ok(_) => Ok(()),
            Err(error) => match error.cause.into_app_error() {
                // It has ended already.
                ConnectorError::Permanent(_) if ENDED.contains(&error.code.as_str()) => Ok(()),
                cause => Err(cause),
            },
        }
    }
}

/// The account of a person in a data center.
fn account(site: &Site, identity: Option<Identity>, api_domain: Option<&str>) -> ExternalAccount {
    let identity = identity.unwrap_or_default();
    let zuid = identity.zuid.unwrap_or_default();
    // Data centers number people independently of each other.
    let id = format!("{}:{zuid}", site.data_center.code());
    let mut settings = json!({ DATA_CENTER: site.data_center.code(), ZUID: zuid });
    if let Some(api_domain) = api_domain {
        settings[API_DOMAIN] = json!(api_domain);
    }
    ExternalAccount {
        name: identity.email.or(identity.name).unwrap_or(zuid),
        stable_id: id.clone(),
        id,
        settings,
    }
}
