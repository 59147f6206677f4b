//! OAuth 2.0 for web servers: consent, identity of the person, refresh and revocation.
//!
//! A person has one grant per OAuth client, which all products share: consents add to it, and a
//! revocation ends it for all of them. So a grant is identified by client and person, and only the
//! last connection that ends revokes it. Each connection has tokens with its own scopes, because
//! earlier scopes are not included.
//!
//! Sources: "Using OAuth 2.0 for Web Server Applications" and "`OpenID` Connect" at
//! developers.google.com.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::client::Client;
use super::settings::GoogleApp;
use crate::connectors::error::permanent_error;
use crate::connectors::oauth::{ClientSettings, Dialect, FlowEnd, TokenEndpoint, TokenResponse};
use crate::connectors::settings::{APP_ACCOUNT, url_below};
use crate::connectors::wire::text;
use crate::connectors::{
    AuthorizeRequest, Callback, CallbackOutcome, ConnectorError, Finding, Grant, RefreshRequest,
    TokenSet, with_new_token,
};
use crate::http::Charge;
use crate::model::ExternalAccount;

/// Scope of the person's subject id.
pub(in crate::connectors) const OPENID: &str = "openid";
/// Scope of the person's address.
pub(in crate::connectors) const EMAIL: &str = "email";
/// Google's spelling of [`EMAIL`] in lists of granted scopes.
const GRANTED_EMAIL: &str = "https://www.googleapis.com/auth/userinfo.email";

/// Google's OAuth.
const OAUTH: Dialect = Dialect {
    provider: "Google",
    ..Dialect::STANDARD
};

/// Scopes of a product.
#[derive(Debug)]
pub(in crate::connectors) struct Product {
    /// The requested scopes, with [`OPENID`] and [`EMAIL`].
    pub scopes: &'static [&'static str],
    /// The scopes without which nothing useful can be read.
    pub needed: &'static [&'static str],
    /// The access that they give, as text for people (`see your files`).
    pub access: &'static str,
}

/// A person's consent to a product.
#[derive(Debug)]
pub(in crate::connectors) struct Consent {
    /// The tokens. A repeated consent may lack the refresh token.
    pub tokens: TokenSet,
    /// The granted scopes, spelled as requested.
    pub scopes: Vec<String>,
    /// The person.
    pub identity: Identity,
}

impl Consent {
    /// The end of a flow in which a call with the new tokens failed.
    pub(in crate::connectors) fn failed(self, error: ConnectorError) -> FlowEnd {
        // The grant of an unknown person may be one that other connections use.
        if self.identity.sub.is_none() {
            return Err(error);
        }
        Ok(CallbackOutcome::Failed {
            error,
            grant: Box::new(self.into_grant()),
        })
    }

    /// The grant, for its revocation.
    pub(in crate::connectors) fn into_grant(self) -> Grant {
        Grant {
            account: self.identity.account(Value::Null),
            access_token: Some(self.tokens.access_token),
            refresh_token: self.tokens.refresh_token,
        }
    }
}

/// A Google account.
#[derive(Debug, Default, Deserialize)]
pub(in crate::connectors) struct Identity {
    /// The subject id, which never changes.
    #[serde(default, deserialize_with = "text")]
    sub: Option<String>,
    /// The address, which may change.
    #[serde(default, deserialize_with = "text")]
    email: Option<String>,
}

impl Identity {
    /// The person whom the identity token of a token response names, if it is readable.
    ///
    /// Its signature need not be verified, because it comes from Google directly (`OpenID` Connect
    /// Core 1.0, 3.1.3.7).
    fn of_response(response: &TokenResponse) -> Option<Self> {
        #[derive(Deserialize)]
        struct Fields {
            id_token: Option<String>,
        }
        let fields: Fields = response.fields().ok()?;
        let token = fields.id_token?;
        let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
        serde_json::from_slice(&claims).ok()
    }

    /// The account of the person, with the connector's own data.
    pub(in crate::connectors) fn account(&self, settings: Value) -> ExternalAccount {
        let sub = self.sub.clone().unwrap_or_default();
        ExternalAccount {
            name: self.email.clone().unwrap_or_else(|| sub.clone()),
            stable_id: sub.clone(),
            id: sub,
            settings,
        }
    }
}

/// Authorization for a product.
pub(in crate::connectors) struct Google<'a> {
    pub app: &'a GoogleApp,
    pub client: &'a Client,
    pub product: &'static Product,
}

impl Google<'_> {
    /// The URL of the consent page.
    pub(in crate::connectors) fn authorize(&self, request: &AuthorizeRequest) -> Url {
        let page = url_below(&self.app.hosts.auth, &["o", "oauth2", "v2", "auth"]);
        let parameters = [
            ("response_type", "code"),
            ("access_type", "offline"),
            ("prompt", "consent"),
            // Otherwise each token would have the scopes of every product.
            ("include_granted_scopes", "false"),
        ];
        OAUTH.authorize_url(
            page,
            &self.app.client,
            request,
            self.product.scopes,
            &parameters,
        )
    }

    fn token_endpoint(&self) -> TokenEndpoint<'_, Client> {
        TokenEndpoint {
            dialect: &OAUTH,
            api: self.client,
            url: url_below(&self.app.hosts.token, &["token"]),
            client: &self.app.client,
        }
    }

    /// Checks the OAuth client.
    pub(super) async fn check_client(&self, redirect_uri: &Url) -> Finding {
        let charge = Charge::new(APP_ACCOUNT, "check_client");
        let settings = ClientSettings {
            id: "GOOGLE_CLIENT_ID",
            secret: "GOOGLE_CLIENT_SECRET",
        };
        let endpoint = self.token_endpoint();
        endpoint.check_client(&charge, redirect_uri, settings).await
    }

    /// Exchanges the code of a redirect, and rejects a consent that gives no useful access.
    pub(in crate::connectors) async fn exchange(
        &self,
        callback: &Callback,
    ) -> Result<Consent, FlowEnd> {
        let charge = Charge::new(APP_ACCOUNT, "exchange_code");
        let response = self.token_endpoint().exchange(&charge, callback).await?;
        let scopes = response.granted(self.product.scopes, is_same_scope);
        let identity = Identity::of_response(&response).unwrap_or_default();
        let tokens = response.into_set(self.client.now()).map_err(Err)?;
        let mut consent = Consent {
            tokens,
            scopes,
            identity,
        };
        match self.identity(&consent.tokens).await {
            Ok(identity) => consent.identity = identity,
            Err(error) => return Err(consent.failed(error)),
        }
        let is_granted = |scope: &&str| consent.scopes.iter().any(|granted| granted == scope);
        if self.product.needed.iter().all(is_granted) {
            return Ok(consent);
        }
        let reason = format!(
            "You did not allow the app to {}. Connect again and select every box on Google's page.",
            self.product.access
        );
        let grant = consent.into_grant();
        Err(Ok(CallbackOutcome::rejected(reason, grant)))
    }

    async fn identity(&self, tokens: &TokenSet) -> Result<Identity, ConnectorError> {
        let url = url_below(&self.app.hosts.userinfo, &["v1", "userinfo"]);
        let charge = Charge::new(APP_ACCOUNT, "get_userinfo");
        let token = &tokens.access_token;
        let get = || self.client.get_with_token(&charge, url.clone(), token);
        let response = with_new_token(|| Box::pin(async { Ok(get().await?) })).await?;
        let identity: Identity = response.json()?;
        if identity.sub.is_none() {
            return Err(permanent_error("Google's userinfo names no subject"));
        }
        Ok(identity)
    }

    /// Refreshes a token. The refresh token stays the same.
    pub(in crate::connectors) async fn refresh(
        &self,
        request: &RefreshRequest,
    ) -> Result<TokenSet, ConnectorError> {
        let endpoint = self.token_endpoint();
        let tokens = endpoint.refresh("refresh_token", request).await?;
        tokens.into_set(self.client.now())
    }

    /// Revokes the grant of the person, for every product.
    pub(in crate::connectors) async fn revoke(&self, grant: &Grant) -> Result<(), ConnectorError> {
        let token = grant.refresh_token.as_ref().or(grant.access_token.as_ref());
        let Some(token) = token else {
            return Ok(());
        };
        let url = url_below(&self.app.hosts.token, &["revoke"]);
        let charge = Charge::new(APP_ACCOUNT, "revoke_token");
        let form = [("token", token.expose_secret())];
        match self.client.post_form(&charge, url, &form).await {
            Ok(_) => Ok(()),
            // It has ended already.
            Err(error) if error.is(StatusCode::BAD_REQUEST) && error.code == "invalid_token" => {
                Ok(())
            }
            Err(error) => Err(error.cause.into_app_error()),
        }
    }

    /// Identity of the grant, which all products of a person share.
    pub(in crate::connectors) fn grant_key(&self, account: &ExternalAccount) -> String {
        format!("google:{}:{}", self.app.client.id, account.stable_id)
    }
}

/// Whether a granted scope is the requested one, in Google's spelling.
fn is_same_scope(granted: &str, requested: &str) -> bool {
    granted == requested || (requested == EMAIL && granted == GRANTED_EMAIL)
}
