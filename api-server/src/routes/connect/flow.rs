//! The legs of a connect flow, as they are kept.

use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use shared::connectors::{AuthorizeRequest, Connector};
use shared::crypto::{SealContext, pkce_challenge, random_token, sha256};
use shared::db::oauth_states::{self, NewState, OauthState};
use shared::db::{TenantScope, Tx};
use url::Url;
use uuid::Uuid;

use crate::error::ApiError;
use crate::state::{AppState, url_below};

/// Random bytes in a link's token, a state and a verifier: 43 characters, as RFC 7636 asks for.
pub(super) const RANDOM_BYTES: usize = 32;
/// The length of a state.
const STATE_CHARS: usize = 43;

/// What only we know of a leg.
pub(super) struct Leg {
    verifier: SecretString,
    pub(super) carry: Option<serde_json::Value>,
}

/// A leg as it is sealed.
#[derive(Serialize, Deserialize)]
struct Sealed {
    verifier: String,
    carry: Option<serde_json::Value>,
}

/// A leg that has been stored.
pub(super) struct Begun {
    pub(super) state: SecretString,
    leg: Leg,
}

/// Where a flow belongs.
pub(super) struct Place<'a> {
    pub(super) provider: &'a str,
    pub(super) link_hash: [u8; 32],
    pub(super) browser_hash: [u8; 32],
    pub(super) return_to: Option<&'a str>,
}

impl Leg {
    pub(super) fn verifier(&self) -> SecretString {
        self.verifier.clone()
    }

    /// Opens what is sealed in a state's row.
    pub(super) fn open(app: &AppState, row: &OauthState) -> Result<Self, ApiError> {
        let context = context(&row.scope, &row.state_hash, "oauth_state");
        let opened = app
            .keyring
            .open(&context, &row.sealed)
            .map_err(ApiError::Sealed)?;
        let sealed: Sealed =
            serde_json::from_str(opened.expose_secret()).map_err(ApiError::Stored)?;
        Ok(Self {
            verifier: sealed.verifier.into(),
            carry: sealed.carry,
        })
    }

    /// The provider's page on which this leg goes on.
    pub(super) fn authorize(
        &self,
        app: &AppState,
        connector: &dyn Connector,
        state: &str,
    ) -> Result<Url, ApiError> {
        let request = AuthorizeRequest {
            state: state.to_owned(),
            redirect_uri: redirect_uri(app, connector.descriptor().slug),
            code_challenge: pkce_challenge(self.verifier.expose_secret()),
            carry: self.carry.clone(),
        };
        connector.authorize(&request).map_err(ApiError::Connector)
    }
}

impl Begun {
    pub(super) fn authorize(
        &self,
        app: &AppState,
        connector: &dyn Connector,
    ) -> Result<Url, ApiError> {
        self.leg
            .authorize(app, connector, self.state.expose_secret())
    }
}

/// Begins a leg.
pub(super) async fn begin(
    app: &AppState,
    tx: &mut Tx,
    scope: &TenantScope,
    place: &Place<'_>,
    carry: Option<serde_json::Value>,
) -> Result<Begun, ApiError> {
    let state = random_token(RANDOM_BYTES);
    let state_hash = sha256(state.expose_secret().as_bytes());
    let verifier = random_token(RANDOM_BYTES);
    let sealed = Sealed {
        verifier: verifier.expose_secret().to_owned(),
        carry,
    };
    let plain = SecretString::from(serde_json::to_string(&sealed).map_err(ApiError::Stored)?);
    let row = NewState {
        state_hash,
        provider: place.provider,
        link_hash: place.link_hash,
        browser_hash: place.browser_hash,
        sealed: &app
            .keyring
            .seal(&context(scope, &state_hash, "oauth_state"), &plain),
        return_to: place.return_to,
    };
    oauth_states::create(tx, scope, &row).await?;
    Ok(Begun {
        state,
        leg: Leg {
            verifier,
            carry: sealed.carry,
        },
    })
}

/// The leg of a state that a browser brings, used or not; every other state is refused alike.
pub(super) async fn find(
    app: &AppState,
    provider: &str,
    state: &str,
) -> Result<OauthState, ApiError> {
    let found = oauth_states::find(&app.db, sha256(state.as_bytes())).await?;
    found
        .filter(|row| row.provider == provider)
        .ok_or(ApiError::InvalidState)
}

/// Keeps what a leg's callback was answered, sealed: it may hold the next leg's state.
pub(super) async fn record_answer<T: Serialize>(
    app: &AppState,
    row: &OauthState,
    answer: &T,
) -> Result<(), ApiError> {
    let plain = SecretString::from(serde_json::to_string(answer).map_err(ApiError::Stored)?);
    let context = context(&row.scope, &row.state_hash, "oauth_answer");
    let sealed = app.keyring.seal(&context, &plain);
    let mut tx = app.db.begin(&row.scope).await?;
    oauth_states::record_answer(&mut tx, &row.scope, &row.state_hash, &sealed).await?;
    tx.commit().await?;
    Ok(())
}

/// Opens what [`record_answer`] kept.
pub(super) fn open_answer<T: DeserializeOwned>(
    app: &AppState,
    row: &OauthState,
    sealed: &[u8],
) -> Result<T, ApiError> {
    let context = context(&row.scope, &row.state_hash, "oauth_answer");
    let opened = app
        .keyring
        .open(&context, sealed)
        .map_err(ApiError::Sealed)?;
    serde_json::from_str(opened.expose_secret()).map_err(ApiError::Stored)
}

/// Whether a text has the form of a state.
pub(super) fn is_state(text: &str) -> bool {
    text.len() == STATE_CHARS
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// Our callback, as it must be registered at the provider.
pub(super) fn redirect_uri(app: &AppState, provider: &str) -> Url {
    url_below(&app.public_url, &["v1", "connect", provider, "callback"])
}

/// A leg's secrets open in their own row only: its state's hash stands for the owner.
fn context(
    scope: &TenantScope,
    state_hash: &[u8; 32],
    field: &'static str,
) -> SealContext<'static> {
    let mut owner = [0; 16];
    owner.copy_from_slice(&state_hash[..16]);
    SealContext {
        tenant: scope.tenant_id(),
        connection: Uuid::from_bytes(owner),
        field,
    }
}
