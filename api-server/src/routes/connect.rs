//! From a link to a proved grant.
//!
//! A tenant asks for a link; whoever opens it gets a cookie and goes on to the provider;
//! the provider sends the browser back. What comes back counts only with a state that is
//! ours, unused and young, in the browser that opened the link. Each leg has a state and a
//! PKCE verifier of its own; both end with it.

mod begin;
mod browser;
mod callback;
mod choose;
mod flow;
mod open;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Routes;

pub(crate) fn router() -> Routes {
    OpenApiRouter::new()
        .routes(routes!(begin::create_connect_link))
        .routes(routes!(open::open_connect_link))
        .routes(routes!(callback::finish_connect))
}
