//! Answers of the REST API.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Value, json};

/// The body of an answer, kept beside it for `ETag`s and truncation.
#[derive(Clone)]
pub(crate) struct Payload(pub(crate) Bytes);

/// An answer on its way out.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(&'static str, HeaderValue)>,
    pub(crate) body: Bytes,
}

impl Reply {
    /// JSON with a status.
    pub(crate) fn json(status: StatusCode, value: &Value) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Bytes::from(value.to_string()),
        }
    }

    /// 200 with JSON.
    pub(crate) fn ok(value: &Value) -> Self {
        Self::json(StatusCode::OK, value)
    }

    /// 204.
    pub(crate) fn empty() -> Self {
        Self {
            status: StatusCode::NO_CONTENT,
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// 200 with rendered rows as a JSON array, or as a field of an object beside
    /// `total_count`.
    pub(crate) fn rows(rows: &[Bytes], wrap: Option<(&str, usize)>) -> Self {
        match wrap {
            None => Self::list("", rows, ""),
            Some((name, total)) => {
                let before = format!("{{\"total_count\":{total},\"{name}\":");
                Self::list(&before, rows, "}")
            }
        }
    }

    /// 200 with the rows that a search found.
    pub(crate) fn found(rows: &[Bytes], total: usize, incomplete: bool) -> Self {
        let before = format!(
            "{{\"total_count\":{total},\"incomplete_results\":{incomplete},\"search_type\":\"lexical\",\"items\":"
        );
        Self::list(&before, rows, "}")
    }

    fn list(before: &str, rows: &[Bytes], after: &str) -> Self {
        let size = rows.iter().map(|row| row.len() + 1).sum::<usize>() + 128;
        let mut body = Vec::with_capacity(size);
        body.extend_from_slice(before.as_bytes());
        body.push(b'[');
        for (at, row) in rows.iter().enumerate() {
            if at > 0 {
                body.push(b',');
            }
            body.extend_from_slice(row);
        }
        body.push(b']');
        body.extend_from_slice(after.as_bytes());
        Self {
            status: StatusCode::OK,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    /// GitHub's error object.
    pub(crate) fn error(status: StatusCode, message: &str) -> Self {
        Self::error_at(status, message, "https://docs.github.com/rest")
    }

    /// GitHub's error object with the page that explains it.
    pub(crate) fn error_at(status: StatusCode, message: &str, documentation: &str) -> Self {
        let body = json!({
            "message": message, "documentation_url": documentation,
            "status": status.as_u16().to_string(),
        });
        Self::json(status, &body)
    }

    /// 404, which also stands for "no access".
    pub(crate) fn not_found() -> Self {
        Self::error(StatusCode::NOT_FOUND, "Not Found")
    }

    /// 401 for tokens that are wrong, expired or revoked.
    pub(crate) fn bad_credentials() -> Self {
        Self::error(StatusCode::UNAUTHORIZED, "Bad credentials")
    }

    /// 403 for a permission that was not granted.
    pub(crate) fn not_permitted(permission: &str) -> Self {
        Self::error(
            StatusCode::FORBIDDEN,
            "Resource not accessible by integration",
        )
        .with(
            "x-accepted-github-permissions",
            &format!("{permission}=read"),
        )
    }

    /// 403 for what a suspended installation asks.
    pub(crate) fn suspended() -> Self {
        Self::error(
            StatusCode::FORBIDDEN,
            "This installation has been suspended",
        )
    }

    /// 422 with a reason.
    pub(crate) fn unprocessable(message: &str) -> Self {
        Self::error(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    /// 301 to where something is now.
    pub(crate) fn moved(location: &str) -> Self {
        let body = json!({
            "message": "Moved Permanently", "url": location,
            "documentation_url": "https://docs.github.com/rest/guides/best-practices-for-using-the-rest-api#follow-redirects",
        });
        Self::json(StatusCode::MOVED_PERMANENTLY, &body).with("location", location)
    }

    /// Adds a header; one that cannot be written is left out.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body.clone()));
        *response.status_mut() = self.status;
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
        if !self.body.is_empty() {
            let kind = HeaderValue::from_static("application/json; charset=utf-8");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
        }
        response.extensions_mut().insert(Payload(self.body));
        response
    }
}
