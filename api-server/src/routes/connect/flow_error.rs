//! Errors of the connect flow, with the circumstances that a page shows.

use axum::response::{IntoResponse, Response};

use crate::error::ApiError;
use crate::pages::connect::FailureContext;

/// An error of the connect flow.
///
/// The JSON is that of the error; the context is for pages only.
#[derive(Debug)]
pub(crate) struct FlowError {
    pub(super) error: ApiError,
    pub(super) context: FailureContext,
}

impl IntoResponse for FlowError {
    fn into_response(self) -> Response {
        let mut response = self.error.into_response();
        response.extensions_mut().insert(self.context);
        response
    }
}
