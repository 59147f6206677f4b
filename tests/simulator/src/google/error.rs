//! Errors of the APIs in Google's envelope.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// An error response of an API.
#[derive(Debug, Clone)]
pub(crate) struct ApiError(Box<Parts>);

#[derive(Debug, Clone)]
struct Parts {
    status: StatusCode,
    message: String,
    domain: &'static str,
    reason: &'static str,
    /// Type and name of the wrong part of the request.
    location: Option<(&'static str, String)>,
    /// Canonical status, which older errors lack.
    canonical: Option<&'static str>,
    details: Vec<Value>,
    retry_after: Option<u64>,
}

impl ApiError {
    pub(crate) fn new(
        status: StatusCode,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self(Box::new(Parts {
            status,
            message: message.into(),
            domain: "global",
            reason,
            location: None,
            canonical: None,
            details: Vec::new(),
            retry_after: None,
        }))
    }

    /// A parameter has an invalid value.
    pub(crate) fn invalid_parameter(name: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", "Invalid Value").at_parameter(name)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "notFound", message)
    }

    /// The access token is unknown, expired or revoked.
    pub(crate) fn unauthorized() -> Self {
        let message = "Request had invalid authentication credentials. Expected OAuth 2 access \
                       token, login cookie or other valid authentication credential. See \
                       https://developers.google.com/identity/sign-in/web/devconsole-project.";
        let mut error =
            Self::new(StatusCode::UNAUTHORIZED, "authError", message).canonical("UNAUTHENTICATED");
        error.0.location = Some(("header", "Authorization".to_owned()));
        error
    }

    /// The access token lacks a scope that the method needs.
    pub(crate) fn missing_scope(service: &str, method: &str) -> Self {
        let message = "Request had insufficient authentication scopes.";
        let detail = json!({
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "ACCESS_TOKEN_SCOPE_INSUFFICIENT", "domain": "googleapis.com",
            "metadata": { "service": service, "method": method },
        });
        Self::new(StatusCode::FORBIDDEN, "insufficientPermissions", message)
            .canonical("PERMISSION_DENIED")
            .detail(detail)
    }

    #[cfg(test)]
    pub(crate) fn status(&self) -> StatusCode {
        self.0.status
    }

    pub(crate) fn domain(mut self, domain: &'static str) -> Self {
        self.0.domain = domain;
        self
    }

    /// Names the canonical status, as newer services do.
    pub(crate) fn canonical(mut self, status: &'static str) -> Self {
        self.0.canonical = Some(status);
        self
    }

    pub(crate) fn at_parameter(mut self, name: &str) -> Self {
        self.0.location = Some(("parameter", name.to_owned()));
        self
    }

    pub(crate) fn detail(mut self, detail: Value) -> Self {
        self.0.details.push(detail);
        self
    }

    pub(crate) fn retry_after(mut self, seconds: Option<u64>) -> Self {
        self.0.retry_after = seconds;
        self
    }
}

impl Parts {
    fn body(&self) -> Value {
        let mut entry = json!({
            "message": self.message, "domain": self.domain, "reason": self.reason,
        });
        // The entry of a refused token has a short text of its own.
        if self.status == StatusCode::UNAUTHORIZED {
            entry["message"] = json!("Invalid Credentials");
        }
        if let Some((kind, name)) = &self.location {
            entry["locationType"] = json!(kind);
            entry["location"] = json!(name);
        }
        let mut error = json!({
            "code": self.status.as_u16(), "message": self.message, "errors": [entry],
        });
        if let Some(status) = self.canonical {
            error["status"] = json!(status);
        }
        if !self.details.is_empty() {
            error["details"] = json!(self.details);
        }
        json!({ "error": error })
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let parts = self.0;
        let mut response = (parts.status, Json(parts.body())).into_response();
        let headers = response.headers_mut();
        if parts.status == StatusCode::UNAUTHORIZED {
            let value = "Bearer realm=\"https://accounts.google.com/\", error=\"invalid_token\"";
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(value));
        }
        if let Some(seconds) = parts.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
