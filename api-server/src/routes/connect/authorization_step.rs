//! The stored authorization steps of a connect flow.

use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use shared::connectors::{AuthorizeRequest, Connector};
use shared::crypto::{SealContext, pkce_challenge, random_token, sha256};
use shared::db::oauth_states::{self, NewOauthState, OauthState};
use shared::db::{TenantScope, Tx};
use url::Url;
use uuid::Uuid;

use crate::error::ApiError;
use crate::state::{AppState, append_path};

/// Random bytes of a token, a state and a verifier: 43 characters, as RFC 7636 requires.
pub(super) const RANDOM_BYTES: usize = 32;
/// The length of a state.
const STATE_LENGTH: usize = 43;

/// The secrets of an authorization step.
pub(super) struct AuthorizationStep {
    verifier: SecretString,
    /// The token of the flow's connect link.
    pub(super) link_token: SecretString,
    pub(super) context: Option<serde_json::Value>,
}

/// The sealed form of an [`AuthorizationStep`].
#[derive(Serialize, Deserialize)]
struct SealedStep {
    verifier: String,
    link_token: String,
    context: Option<serde_json::Value>,
}

/// A stored authorization step and its state.
pub(super) struct StartedStep {
    pub(super) state: SecretString,
    step: AuthorizationStep,
}

/// The provider, link and browser that a flow belongs to.
pub(super) struct FlowTarget<'a> {
    pub(super) provider: &'a str,
    pub(super) link_token: &'a SecretString,
    pub(super) browser_hash: [u8; 32],
    pub(super) return_to: Option<&'a str>,
}

impl AuthorizationStep {
    pub(super) fn verifier(&self) -> SecretString {
        self.verifier.clone()
    }

    /// Decrypts the step of a state's row.
    pub(super) fn open(app: &AppState, row: &OauthState) -> Result<Self, ApiError> {
        let context = seal_context(&row.scope, &row.state_hash, "oauth_state");
        let opened = app
            .keyring
            .open(&context, &row.sealed)
            .map_err(ApiError::Decrypt)?;
        let sealed: SealedStep =
            serde_json::from_str(opened.expose_secret()).map_err(ApiError::Codec)?;
        Ok(Self {
            verifier: sealed.verifier.into(),
            link_token: sealed.link_token.into(),
            context: sealed.context,
        })
    }

    /// The URL of the provider's authorization page.
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
            context: self.context.clone(),
        };
        connector.authorize(&request).map_err(ApiError::Connector)
    }
}

impl StartedStep {
    pub(super) fn authorize(
        &self,
        app: &AppState,
        connector: &dyn Connector,
    ) -> Result<Url, ApiError> {
        self.step
            .authorize(app, connector, self.state.expose_secret())
    }
}

/// Stores a new authorization step.
pub(super) async fn start_step(
    app: &AppState,
    tx: &mut Tx,
    scope: &TenantScope,
    target: &FlowTarget<'_>,
    context: Option<serde_json::Value>,
) -> Result<StartedStep, ApiError> {
    let state = random_token(RANDOM_BYTES);
    let state_hash = sha256(state.expose_secret().as_bytes());
    let verifier = random_token(RANDOM_BYTES);
    let sealed = SealedStep {
        verifier: verifier.expose_secret().to_owned(),
        link_token: target.link_token.expose_secret().to_owned(),
        context,
    };
    let plain = SecretString::from(serde_json::to_string(&sealed).map_err(ApiError::Codec)?);
    let row = NewOauthState {
        state_hash,
        provider: target.provider,
        link_hash: sha256(target.link_token.expose_secret().as_bytes()),
        browser_hash: target.browser_hash,
        sealed: &app
            .keyring
            .seal(&seal_context(scope, &state_hash, "oauth_state"), &plain),
        return_to: target.return_to,
    };
    oauth_states::create(tx, scope, &row).await?;
    Ok(StartedStep {
        state,
        step: AuthorizationStep {
            verifier,
            link_token: target.link_token.clone(),
            context: sealed.context,
        },
    })
}

/// Finds the row of a state, used or not; all other states give the same error.
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

/// Stores the outcome of a callback for repeated requests.
///
/// It is sealed, because it may contain the state of the next step.
pub(super) async fn store_outcome<T: Serialize>(
    app: &AppState,
    row: &OauthState,
    outcome: &T,
) -> Result<(), ApiError> {
    let plain = SecretString::from(serde_json::to_string(outcome).map_err(ApiError::Codec)?);
    let context = seal_context(&row.scope, &row.state_hash, "oauth_answer");
    let sealed = app.keyring.seal(&context, &plain);
    let mut tx = app.db.begin(&row.scope).await?;
    oauth_states::record_response(&mut tx, &row.scope, &row.state_hash, &sealed).await?;
    tx.commit().await?;
    Ok(())
}

/// Decrypts an outcome of [`store_outcome`].
pub(super) fn open_outcome<T: DeserializeOwned>(
    app: &AppState,
    row: &OauthState,
    sealed: &[u8],
) -> Result<T, ApiError> {
    let context = seal_context(&row.scope, &row.state_hash, "oauth_answer");
    let opened = app
        .keyring
        .open(&context, sealed)
        .map_err(ApiError::Decrypt)?;
    serde_json::from_str(opened.expose_secret()).map_err(ApiError::Codec)
}

/// Whether a text has the form of a state.
pub(super) fn is_state(text: &str) -> bool {
    text.len() == STATE_LENGTH
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// The URL of the callback, as it is registered at the provider.
pub(super) fn redirect_uri(app: &AppState, provider: &str) -> Url {
    append_path(&app.public_url, &["v1", "connect", provider, "callback"])
}

/// Binds a sealed value to its row.
///
/// The hash of the state takes the place of the connection's id.
fn seal_context(
    scope: &TenantScope,
    state_hash: &[u8; 32],
    field: &'static str,
) -> SealContext<'static> {
    let mut owner = [0; 16];
    owner.copy_from_slice(&state_hash[..16]);
    SealContext {
        tenant: scope.tenant_id(),
        connection: Uuid::from_bytes(owner),
        holder: "",
        field,
    }
}
