//! `GET /robots.txt`: admits the senders of deliveries, and no crawler.
//!
//! Google sends no push to a host whose rules exclude its agent `APIs-Google`.

use axum::http::header;
use axum::response::IntoResponse;

const RULES: &str = "User-agent: APIs-Google\nAllow: /webhooks/\n\nUser-agent: *\nDisallow: /\n";

/// Returns the rules.
pub(crate) async fn robots() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], RULES)
}
