//! Middleware that shows the problems of connect pages to browsers as pages.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;
use shared::problem::Problem;

use super::failure::{FailureContext, FailureView};
use crate::pages::{Pages, prefers_html};

/// Replaces a problem's JSON by a page if a browser asked for a page of the connect flow.
///
/// Status and headers stay. Other clients get the JSON.
pub(crate) async fn show_problems(
    State(pages): State<Arc<Pages>>,
    request: Request,
    next: Next,
) -> Response {
    let is_for_people = is_connect_page(request.uri().path()) && prefers_html(request.headers());
    let mut response = next.run(request).await;
    if !is_for_people {
        return response;
    }
    let Some(problem) = response.extensions_mut().remove::<Problem>() else {
        return response;
    };
    let context = response.extensions_mut().remove::<FailureContext>();
    let headers = std::mem::take(response.headers_mut());
    let view = FailureView {
        product: pages.product(),
        problem: &problem,
        context: &context.unwrap_or_default(),
        request: request_id(&headers),
    };
    let page = view.page();
    pages.respond_with(response.status(), headers, &page)
}

fn request_id(headers: &HeaderMap) -> Option<&str> {
    headers.get("x-request-id")?.to_str().ok()
}

/// Whether the path is that of a page: `/v1/connect/{provider}/start` or `…/callback`.
fn is_connect_page(path: &str) -> bool {
    path.strip_prefix("/v1/connect/")
        .and_then(|rest| rest.split_once('/'))
        .is_some_and(|(_, page)| matches!(page, "start" | "callback"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_pages_of_the_flow_are_replaced() {
        for page in ["/v1/connect/github/start", "/v1/connect/x/callback"] {
            assert!(is_connect_page(page), "{page}");
        }
        for other in [
            "/v1/connect/github",
            "/v1/connections",
            "/v1/connect/github/start/more",
            "/v1/connect/",
        ] {
            assert!(!is_connect_page(other), "{other}");
        }
    }
}
