//! Events: what happened to connections.

mod list;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Routes;

pub(crate) fn router() -> Routes {
    OpenApiRouter::new().routes(routes!(list::list_events))
}
