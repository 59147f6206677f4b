//! Connecting: the legs of a flow, the grant it leads to, its tokens.

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;
use url::Url;
use utoipa::ToSchema;

/// The start of a leg of a connect flow.
#[derive(Debug, Clone)]
pub struct AuthorizeRequest {
    /// One-time value that the provider hands back.
    pub state: String,
    /// Our callback, as registered at the provider.
    pub redirect_uri: Url,
    /// PKCE challenge (S256) of this leg's verifier.
    pub code_challenge: String,
    /// What the previous leg left to know; `None` at the start.
    pub carry: Option<serde_json::Value>,
}

/// The provider's redirect back to us, its state already checked.
#[derive(Debug)]
pub struct Callback {
    /// All query parameters, as received. Untrusted.
    pub query: Vec<(String, String)>,
    /// PKCE verifier of this leg.
    pub code_verifier: SecretString,
    /// Our callback, as registered at the provider.
    pub redirect_uri: Url,
    /// What the previous leg left to know.
    pub carry: Option<serde_json::Value>,
}

impl Callback {
    /// The first value of a query parameter.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// What a redirect led to.
#[derive(Debug)]
pub enum CallbackOutcome {
    /// Another leg follows: the browser goes to [`super::Connector::authorize`] with this carry.
    Continue {
        /// What the next leg must know; stored sealed with its state.
        carry: serde_json::Value,
    },
    /// Access is granted and proved.
    Connected(Box<NewGrant>),
    /// The grant covers several accounts; the person chooses one. The choice comes back as
    /// another leg's callback, with `account` in its query and this carry.
    Choose {
        /// What there is to choose from.
        accounts: Vec<AccountChoice>,
        /// What the next leg must know; stored sealed with its state.
        carry: serde_json::Value,
    },
    /// Somebody else must approve first; the connection stays pending until a webhook
    /// [`super::AccountChange::Installed`] names `requester`.
    AwaitingApproval {
        /// The provider's id of the person who asked.
        requester: String,
    },
    /// The person or the provider said no.
    Denied {
        /// Why, in words for the person.
        reason: String,
    },
}

impl CallbackOutcome {
    /// The person or the provider said no, for this reason.
    pub fn denied(reason: impl Into<String>) -> Self {
        Self::Denied {
            reason: reason.into(),
        }
    }

    /// Access is granted and proved.
    pub fn connected(grant: NewGrant) -> Self {
        Self::Connected(Box::new(grant))
    }
}

/// One of several accounts that a grant covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AccountChoice {
    /// The provider's id of the account.
    pub id: String,
    /// The name people know it by.
    pub name: String,
    /// Its page, where it has one.
    pub url: Option<String>,
}

/// Whose tokens they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum TokenHolder {
    /// The account's: every grant has them or makes them on demand.
    Account,
    /// Those of the person who connected it, where the provider gives them as well. They
    /// help where the account's may not read, and nothing depends on them.
    Person,
}

/// A grant that has just been proved.
#[derive(Debug)]
pub struct NewGrant {
    /// What was granted access to.
    pub account: ExternalAccount,
    /// The account's tokens; `None` when they are made on demand.
    pub tokens: Option<TokenSet>,
    /// The tokens of the person who granted it, where there are any.
    pub person: Option<TokenSet>,
    /// Scopes or permissions, as the provider names them.
    pub scopes: Vec<String>,
    /// Routes of its deliveries besides the account's id.
    pub routes: Vec<String>,
}

/// A provider's account: an installation, a site, a workspace, a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalAccount {
    /// The id that deliveries are routed by.
    pub id: String,
    /// The name people know it by.
    pub name: String,
    /// What stays the same when `id` changes (a re-installed app gets a new id).
    pub stable_id: String,
    /// What else the connector wants to remember; no secrets.
    pub settings: serde_json::Value,
}

impl ExternalAccount {
    /// An account of which nothing is known but what its deliveries are routed by.
    pub fn of_route(route: &str) -> Self {
        Self {
            id: route.to_owned(),
            name: route.to_owned(),
            stable_id: route.to_owned(),
            settings: serde_json::Value::Null,
        }
    }
}

/// An account and a token that was valid when it was handed out.
#[derive(Debug, Clone)]
pub struct Access {
    /// Whose data.
    pub account: ExternalAccount,
    /// The access token.
    pub token: SecretString,
    /// The token of the person who connected it, where there is one.
    pub person: Option<SecretString>,
}

/// An account and its tokens, opened.
#[derive(Debug)]
pub struct Grant {
    /// The account.
    pub account: ExternalAccount,
    /// The access token, if one is at hand.
    pub access_token: Option<SecretString>,
    /// The refresh token, if the provider gives one.
    pub refresh_token: Option<SecretString>,
}

/// What is needed to get another access token.
#[derive(Debug)]
pub struct RefreshRequest {
    /// Whose token.
    pub account: ExternalAccount,
    /// The current refresh token, if the provider gives one.
    pub refresh_token: Option<SecretString>,
}

/// Tokens as the provider gave them.
#[derive(Debug)]
pub struct TokenSet {
    /// The access token; opaque, of any length.
    pub access_token: SecretString,
    /// The next refresh token.
    pub refresh_token: Option<SecretString>,
    /// When the access token ends; `None` if it does not.
    pub expires_at: Option<DateTime<Utc>>,
    /// When the refresh token ends.
    pub refresh_expires_at: Option<DateTime<Utc>>,
}
