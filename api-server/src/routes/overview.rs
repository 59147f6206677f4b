//! The overview over all tenants.

pub(crate) mod get;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Routes;

pub(crate) fn router() -> Routes {
    OpenApiRouter::new().routes(routes!(get::get_overview))
}
