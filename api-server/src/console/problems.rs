//! Middleware that shows problems of the console as pages.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use shared::problem::Problem;

use crate::pages::Pages;
use crate::pages::console::ProblemView;

/// Replaces a problem's JSON by a page; status and headers stay.
pub(super) async fn show_problems(
    State(pages): State<Arc<Pages>>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    let Some(problem) = response.extensions_mut().remove::<Problem>() else {
        return response;
    };
    let headers = std::mem::take(response.headers_mut());
    let request = headers
        .get("x-request-id")
        .and_then(|id| id.to_str().ok())
        .map(str::to_owned);
    let view = ProblemView {
        problem: &problem,
        request: request.as_deref(),
    };
    pages.respond_problem(response.status(), headers, &view)
}
