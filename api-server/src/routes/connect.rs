//! The connect flow, from a link to a connection with a proved grant.
//!
//! A tenant creates a link. Its page names the team and the data to be read; a person who continues
//! starts a flow that is bound to the browser. The provider redirects the browser back, and the
//! callback is accepted only with a state that this service issued, that has not expired and that
//! was started in the same browser. A state is used once; a repeated callback of the same browser
//! receives the same response. Each authorization step has a separate state and PKCE verifier.
//!
//! Browsers get pages (`crate::pages::connect`), other clients JSON.

mod account_picker;
mod authorization_step;
mod browser_binding;
mod callback;
pub(crate) mod create;
mod flow_error;
mod grant;
mod outcome;
mod response;
mod start;
mod unusable_grant;

use std::sync::Arc;

use shared::connectors::Connector;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Routes;
use crate::error::ApiError;
use crate::pages::connect::FailureContext;
use crate::state::AppState;

pub(crate) fn router() -> Routes {
    OpenApiRouter::new()
        .routes(routes!(create::create_connect_link))
        .routes(routes!(start::open_connect_link, start::start_connect))
        .routes(routes!(callback::finish_connect))
}

/// The connector of a provider, whose name is added to the context of a failure.
fn connector(
    app: &AppState,
    slug: &str,
    context: &mut FailureContext,
) -> Result<Arc<dyn Connector>, ApiError> {
    let mut known = app.registry.iter();
    let known = known.find(|(descriptor, _)| descriptor.slug == slug);
    context.provider = known.map(|(descriptor, _)| descriptor.display_name);
    Ok(app.registry.get(slug)?)
}
