//! From a link to a proved grant.
//!
//! A tenant asks for a link. Whoever opens it sees a page that names the team and what it will
//! read; continuing from it begins a flow that belongs to that browser. The provider sends the
//! browser back, and what comes back counts only with a state that is ours, young, and begun in
//! this browser; it serves once, and the same browser gets the same answer again. Each leg has a
//! state and a PKCE verifier of its own; both end with it.

mod begin;
mod browser;
mod callback;
mod choose;
mod flow;
mod open;
mod page;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Routes;

pub(crate) fn router() -> Routes {
    OpenApiRouter::new()
        .routes(routes!(begin::create_connect_link))
        .routes(routes!(open::open_connect_link, open::start_connect))
        .routes(routes!(callback::finish_connect))
}
