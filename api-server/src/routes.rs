//! The routes, one folder per resource and one file per handler.

pub(crate) mod api_keys;
pub(crate) mod audit_log;
pub(crate) mod connect;
pub(crate) mod connections;
pub(crate) mod deliveries;
pub(crate) mod events;
pub(crate) mod jobs;
pub(crate) mod operators;
pub(crate) mod overview;
pub(crate) mod providers;
pub(crate) mod signals;
pub(crate) mod sync;
pub(crate) mod tenants;

use std::sync::Arc;

use shared::db::page::PageRequest;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;

use crate::error::ApiError;
use crate::query::{FromQuery, QueryReader};
use crate::state::AppState;

/// The router of one resource.
pub(crate) type Routes = OpenApiRouter<Arc<AppState>>;

/// The pagination of a list.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// The `next_cursor` of the previous page; without it, the first page.
    #[param(pattern = "^[A-Za-z0-9_-]{21}[AQgw]$")]
    pub(crate) cursor: Option<String>,
    /// The maximum number of items.
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub(crate) limit: Option<u32>,
}

impl ListQuery {
    /// The requested page.
    pub(crate) fn page(&self) -> Result<PageRequest, ApiError> {
        Ok(PageRequest::parse(self.cursor.as_deref(), self.limit)?)
    }
}

impl FromQuery for ListQuery {
    fn read(query: &mut QueryReader) -> Self {
        Self {
            cursor: query.list_cursor(),
            limit: query.limit(),
        }
    }
}
