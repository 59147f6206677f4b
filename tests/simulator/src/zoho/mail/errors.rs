//! Errors of the API: the code in the body is that of the response, unless a setting hides it.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::faults::Effect;
use crate::zoho::access::Refusal;

/// Name of the error beyond the limit.
const LIMIT: &str = "URL_ROLLING_THROTTLES_LIMIT_EXCEEDED";

/// An error of the API.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    status: StatusCode,
    name: &'static str,
    details: Option<String>,
}

impl ApiError {
    const fn new(status: StatusCode, name: &'static str) -> Self {
        Self {
            status,
            name,
            details: None,
        }
    }

    fn with(mut self, details: impl Into<String>) -> Self {
        self.details = Some(details.into());
        self
    }

    /// The API has no such path or method.
    pub(crate) const fn unknown_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "URL_RULE_NOT_CONFIGURED")
    }

    /// The object of this name and id does not exist in the mailbox.
    pub(crate) fn unknown(object: &str, id: &str) -> Self {
        let details = format!("{object} id {id} is invalid");
        Self::new(StatusCode::NOT_FOUND, "INVALID_INPUT").with(details)
    }

    /// A parameter has a value of a wrong form.
    pub(crate) fn wrong_parameter(name: &str) -> Self {
        let details = format!("Input does not match the given pattern: {name}");
        Self::new(StatusCode::BAD_REQUEST, "PATTERN_NOT_MATCHED").with(details)
    }

    /// The path has no parameter of this name.
    pub(crate) fn extra_parameter(name: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "EXTRA_PARAM_FOUND").with(name)
    }

    /// The API is locked, with the status of the settings.
    pub(crate) fn locked(status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::TOO_MANY_REQUESTS);
        Self::new(status, LIMIT)
    }

    pub(crate) fn body(&self) -> Value {
        let description = match self.status.as_u16() {
            400 | 404 => "Invalid Input",
            other => match other {
                401 => "Unauthorized",
                429 => "Too Many Requests",
                _ => "Internal Error",
            },
        };
        let mut data = json!({ "errorCode": self.name });
        if let Some(details) = &self.details {
            data["moreInfo"] = json!(details);
        }
        let code = self.status.as_u16();
        json!({ "status": { "code": code, "description": description }, "data": data })
    }

    /// The response; `has_ok_status` leaves the code in the body only.
    pub(crate) fn response(&self, has_ok_status: bool) -> Response {
        let status = if has_ok_status {
            StatusCode::OK
        } else {
            self.status
        };
        (status, Json(self.body())).into_response()
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let name = match refusal {
            Refusal::NoToken | Refusal::InvalidToken => "INVALID_OAUTHTOKEN",
            Refusal::MissingScope => "INVALID_OAUTHSCOPE",
        };
        Self::new(StatusCode::UNAUTHORIZED, name)
    }
}

/// Error response of an injected fault.
pub(super) fn fault_response(effect: Effect) -> Option<Response> {
    let error = match effect {
        Effect::TooManyRequests
        | Effect::PrimaryLimit
        | Effect::SecondaryLimit
        | Effect::SecondaryLimitBare => ApiError::locked(429),
        Effect::Unauthorized => Refusal::InvalidToken.into(),
        Effect::Forbidden => Refusal::MissingScope.into(),
        _ => return None,
    };
    Some(error.response(false))
}
