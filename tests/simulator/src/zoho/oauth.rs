//! OAuth 2.0 of the accounts servers: consent page, tokens, revocation and identity.
//!
//! Every data centre has its own server below `/zoho/{dc}`.

mod authorize;
mod identity;
mod token;

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use super::Zoho;

pub(super) type Service = Arc<Zoho>;
pub(super) type Fields = HashMap<String, String>;

/// Scope of the user information.
pub(super) const PROFILE_SCOPE: &str = "AaaServer.profile.READ";

/// Routes of all accounts servers.
pub(super) fn router(service: &Service) -> Router {
    let tokens = Router::new()
        .route("/oauth/v2/auth", get(authorize::authorize))
        .route("/oauth/v2/session", post(authorize::sign_in))
        .route("/oauth/v2/token", post(token::token))
        .route("/oauth/v2/token/revoke", post(token::revoke));
    let identity = Router::new()
        .route("/oauth/user/info", get(identity::user_info))
        .route("/oauth/serverinfo", get(identity::server_info));
    let tokens = tokens.with_state(Arc::clone(service));
    let identity = identity.with_state(Arc::clone(service));
    service
        .mount(tokens, token::fault_response)
        .merge(service.mount(identity, identity::fault_response))
}
