//! The providers that can be connected.

mod list;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Routes;

pub(crate) fn router() -> Routes {
    OpenApiRouter::new().routes(routes!(list::list_providers))
}
