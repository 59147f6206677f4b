//! Responses of the REST API.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Value, json};

/// Body of a response as an extension, for the middleware.
#[derive(Clone)]
pub(crate) struct Payload(pub(crate) Bytes);

/// A response of the REST API.
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

    /// 200 with rows as a JSON array, or in a field of an object with `total_count`.
    pub(crate) fn rows(rows: &[Bytes], wrap: Option<(&str, usize)>) -> Self {
        match wrap {
            None => Self::list("", rows, ""),
            Some((name, total)) => {
                let prefix = format!("{{\"total_count\":{total},\"{name}\":");
                Self::list(&prefix, rows, "}")
            }
        }
    }

    /// 200 with search results.
    pub(crate) fn search_results(rows: &[Bytes], total: usize, incomplete: bool) -> Self {
        let prefix = format!(
            "{{\"total_count\":{total},\"incomplete_results\":{incomplete},\"search_type\":\"lexical\",\"items\":"
        );
        Self::list(&prefix, rows, "}")
    }

    fn list(prefix: &str, rows: &[Bytes], suffix: &str) -> Self {
        let size = rows.iter().map(|row| row.len() + 1).sum::<usize>() + 128;
        let mut body = Vec::with_capacity(size);
        body.extend_from_slice(prefix.as_bytes());
        body.push(b'[');
        for (at, row) in rows.iter().enumerate() {
            if at > 0 {
                body.push(b',');
            }
            body.extend_from_slice(row);
        }
        body.push(b']');
        body.extend_from_slice(suffix.as_bytes());
        Self {
            status: StatusCode::OK,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    /// Error response.
    pub(crate) fn error(status: StatusCode, message: &str) -> Self {
        Self::error_at(status, message, "https://docs.github.com/rest")
    }

    /// Error response with the URL of its documentation.
    pub(crate) fn error_at(status: StatusCode, message: &str, documentation: &str) -> Self {
        let body = json!({
            "message": message, "documentation_url": documentation,
            "status": status.as_u16().to_string(),
        });
        Self::json(status, &body)
    }

    /// 404 for absent or inaccessible objects.
    pub(crate) fn not_found() -> Self {
        Self::error(StatusCode::NOT_FOUND, "Not Found")
    }

    /// 401 for invalid, expired or revoked tokens.
    pub(crate) fn bad_credentials() -> Self {
        Self::error(StatusCode::UNAUTHORIZED, "Bad credentials")
    }

    /// 403 for a missing permission.
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

    /// 403 for a suspended installation.
    pub(crate) fn suspended() -> Self {
        Self::error(
            StatusCode::FORBIDDEN,
            "This installation has been suspended",
        )
    }

    /// 422 with a message.
    pub(crate) fn unprocessable(message: &str) -> Self {
        Self::error(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    /// 301 to the current URL of an object.
    pub(crate) fn moved(location: &str) -> Self {
        let body = json!({
            "message": "Moved Permanently", "url": location,
            "documentation_url": "https://docs.github.com/rest/guides/best-practices-for-using-the-rest-api#follow-redirects",
        });
        Self::json(StatusCode::MOVED_PERMANENTLY, &body).with("location", location)
    }

    /// Adds a header, unless its value is invalid.
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
            let content_type = HeaderValue::from_static("application/json; charset=utf-8");
            response
                .headers_mut()
                .insert(header::CONTENT_TYPE, content_type);
        }
        response.extensions_mut().insert(Payload(self.body));
        response
    }
}
