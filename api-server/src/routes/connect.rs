//! The connect flow, from a link to a connection with a proved grant.
//!
//! A tenant creates a link. Its page names the team and the data to be read; a person who continues
//! starts a flow that is bound to the browser. The provider redirects the browser back, and the
//! callback is accepted only with a state that this service issued, that has not expired and that
//! was started in the same browser. A state is used once; a repeated callback of the same browser
//! receives the same response. Each authorization step has a separate state and PKCE verifier.

mod account_picker;
mod authorization_step;
mod browser_binding;
mod callback;
mod create;
mod page;
mod start;
mod step_outcome;
mod unusable_grant;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Routes;

pub(crate) fn router() -> Routes {
    OpenApiRouter::new()
        .routes(routes!(create::create_connect_link))
        .routes(routes!(start::open_connect_link, start::start_connect))
        .routes(routes!(callback::finish_connect))
}
