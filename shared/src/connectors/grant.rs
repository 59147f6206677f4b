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
    /// The person's administration of the account is not proved. The connection stays pending
    /// until an administrator walks the same flow.
    AwaitingApproval {
        /// The provider's id of the person who asked.
        requester: String,
        /// The account; `None` until a webhook [`super::AccountChange::Installed`] names it.
        account: Option<Box<ExternalAccount>>,
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccountChoice {
    /// The provider's id of the account.
    pub id: String,
    /// The name people know it by.
    pub name: String,
    /// Its page, where it has one.
    pub url: Option<String>,
}

/// Whose tokens they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr)]
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
    /// The provider's id of the person whose administration of the account was proved; `None`
    /// where the provider's consent page asks for it.
    pub administrator: Option<String>,
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

/// The member of an account's settings that keeps ids which the provider changed: the id that a
/// resource was first known by, under each later one. It survives connecting again.
pub(crate) const RESOURCE_IDS: &str = "resource_ids";

impl ExternalAccount {
    /// The id by which a resource was first known, under whatever id the provider has it now.
    pub fn first_id_of<'i>(&'i self, resource: &'i str) -> &'i str {
        self.settings[RESOURCE_IDS][resource]
            .as_str()
            .unwrap_or(resource)
    }

    /// Notes that a resource has another id from now on.
    pub fn note_resource_id(&mut self, from: &str, to: &str) {
        let first = self.first_id_of(from).to_owned();
        if !self.settings.is_object() {
            self.settings = serde_json::json!({});
        }
        let ids = &mut self.settings[RESOURCE_IDS];
        if !ids.is_object() {
            *ids = serde_json::json!({});
        }
        // A channel that gets its first id back needs no translation.
        if first == to {
            ids.as_object_mut().map(|ids| ids.remove(to));
        } else {
            ids[to] = serde_json::Value::String(first);
        }
    }

    /// Takes over what an older description of the same account kept.
    pub fn keep_resource_ids(&mut self, known: &Self) {
        let kept = &known.settings[RESOURCE_IDS];
        if kept.is_object() && self.settings.is_object() {
            self.settings[RESOURCE_IDS] = kept.clone();
        }
    }

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
    /// The token that is about to end or was refused, if there has been one.
    pub access_token: Option<SecretString>,
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
