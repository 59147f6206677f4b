//! Connect flows: authorization steps, grants and tokens.

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use super::ConnectorError;
use crate::model::ExternalAccount;

/// Start of an authorization step.
#[derive(Debug, Clone)]
pub struct AuthorizeRequest {
    /// One-time state that the provider returns.
    pub state: String,
    /// Callback URL, as registered at the provider.
    pub redirect_uri: Url,
    /// PKCE challenge (S256) of this step's verifier.
    pub code_challenge: String,
    /// Context from the previous step; `None` at the start.
    pub context: Option<serde_json::Value>,
}

/// The provider's redirect to the callback URL, with a verified state.
#[derive(Debug)]
pub struct Callback {
    /// All query parameters as received. Untrusted.
    pub query: Vec<(String, String)>,
    /// PKCE verifier of this step.
    pub code_verifier: SecretString,
    /// Callback URL, as registered at the provider.
    pub redirect_uri: Url,
    /// Context from the previous step.
    pub context: Option<serde_json::Value>,
}

impl Callback {
    /// First value of a query parameter.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Outcome of a redirect.
#[derive(Debug)]
pub enum CallbackOutcome {
    /// Another step follows: [`super::Connector::authorize`] builds its URL with this context.
    NextStep {
        /// Context for the next step; stored sealed with its state.
        context: serde_json::Value,
    },
    /// The grant is verified.
    Connected(Box<NewGrant>),
    /// The grant covers several accounts, of which the person chooses one.
    ///
    /// The choice arrives as the next step's callback, with `account` in its query.
    Choose {
        /// The accounts.
        accounts: Vec<AccountChoice>,
        /// Context for the next step; stored sealed with its state.
        context: serde_json::Value,
    },
    /// The person is not a verified administrator of the account.
    ///
    /// The connection stays pending until an administrator completes the same flow.
    AwaitingApproval {
        /// The provider's id of the requester.
        requester: String,
        /// The account; `None` until a webhook [`super::AccountChange::Installed`] names it.
        account: Option<Box<ExternalAccount>>,
    },
    /// The person or the provider denied access.
    Denied {
        /// Reason, as text for the person.
        reason: String,
    },
    /// The grant gives no useful access.
    ///
    /// It is revoked, unless a connection shares it.
    Rejected {
        /// Reason, as text for the person.
        reason: String,
        /// The grant.
        grant: Box<Grant>,
    },
    /// The grant was issued, but a further call failed.
    ///
    /// The flow fails with the error. The grant is revoked, unless a connection shares it.
    Failed {
        /// The error of the call.
        error: ConnectorError,
        /// The grant.
        grant: Box<Grant>,
    },
}

impl CallbackOutcome {
    /// Builds [`Self::Denied`].
    pub fn denied(reason: impl Into<String>) -> Self {
        Self::Denied {
            reason: reason.into(),
        }
    }

    /// Builds [`Self::Rejected`].
    pub fn rejected(reason: impl Into<String>, grant: Grant) -> Self {
        Self::Rejected {
            reason: reason.into(),
            grant: Box::new(grant),
        }
    }

    /// Builds [`Self::Connected`].
    pub fn connected(grant: NewGrant) -> Self {
        Self::Connected(Box::new(grant))
    }
}

/// One of the accounts that a grant covers
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccountChoice {
    /// The provider's id of the account.
    pub id: String,
    /// The account's name.
    pub name: String,
    /// The account's page, if it has one.
    pub url: Option<String>,
}

/// A newly verified grant.
#[derive(Debug)]
pub struct NewGrant {
    /// The account.
    pub account: ExternalAccount,
    /// The account's tokens; `None` if they are requested on demand.
    pub tokens: Option<TokenSet>,
    /// The user token of the person who granted access, if any.
    pub user_token: Option<UserToken>,
    /// Granted scopes or permissions, spelled as in [`super::ProviderDescriptor::scopes`].
    ///
    /// A person may withhold some. If the response does not name them, all were granted.
    pub scopes: Vec<String>,
    /// The provider's id of the verified administrator.
    ///
    /// `None` if the provider's consent page requires an administrator.
    pub administrator: Option<String>,
}

/// A person's tokens, which the provider issues in addition to the account's.
#[derive(Debug)]
pub struct UserToken {
    /// The provider's id of the person.
    pub user_id: String,
    /// The tokens.
    pub tokens: TokenSet,
}

/// An account with an access token.
#[derive(Debug, Clone)]
pub struct Access {
    /// The account.
    pub account: ExternalAccount,
    /// The access token; it was valid when this was built.
    pub token: SecretString,
    /// The user token of the person who connected it, if any.
    pub user_token: Option<SecretString>,
}

/// An account with its decrypted tokens.
#[derive(Debug)]
pub struct Grant {
    /// The account.
    pub account: ExternalAccount,
    /// The access token, if one is stored.
    pub access_token: Option<SecretString>,
    /// The refresh token, if the provider issues one.
    pub refresh_token: Option<SecretString>,
}

/// Request for a new access token.
#[derive(Debug)]
pub struct RefreshRequest {
    /// The account.
    pub account: ExternalAccount,
    /// The token that expires or was rejected, if any.
    pub access_token: Option<SecretString>,
    /// The current refresh token, if the provider issues one.
    pub refresh_token: Option<SecretString>,
}

/// Tokens as issued by the provider.
#[derive(Debug)]
pub struct TokenSet {
    /// The access token; opaque, of any length.
    pub access_token: SecretString,
    /// The next refresh token.
    pub refresh_token: Option<SecretString>,
    /// Expiry of the access token; `None` if it does not expire.
    pub expires_at: Option<DateTime<Utc>>,
    /// Expiry of the refresh token.
    pub refresh_expires_at: Option<DateTime<Utc>>,
}
