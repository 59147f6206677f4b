//! OAuth 2.0 and `OpenID` Connect: consent page, tokens, revocation and identity.

mod authorize;
mod identity;
mod token;

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use super::Google;

pub(super) type Service = Arc<Google>;
pub(super) type Fields = HashMap<String, String>;

/// Scope of the address, as responses spell it.
pub(super) const EMAIL_SCOPE: &str = "https://www.googleapis.com/auth/userinfo.email";
/// Scope of the name, as responses spell it.
pub(super) const PROFILE_SCOPE: &str = "https://www.googleapis.com/auth/userinfo.profile";
pub(super) const OPENID_SCOPE: &str = "openid";

pub(super) fn router(service: &Service) -> Router {
    Router::new()
        .route("/o/oauth2/v2/auth", get(authorize::authorize))
        .route("/session", post(authorize::sign_in))
        .route("/token", post(token::token))
        .route("/revoke", post(token::revoke))
        .route("/v1/userinfo", get(identity::openid_userinfo))
        .route("/oauth2/v2/userinfo", get(identity::userinfo))
        .route("/oauth2/v3/certs", get(identity::jwks))
        .route("/oauth2/v1/certs", get(identity::certificates))
        .with_state(Arc::clone(service))
}
