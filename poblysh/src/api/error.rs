//! Errors of the API, as sentences with the next step.

use std::fmt::Write as _;
use std::time::Duration;

use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::table;

/// The most characters of a body that is no problem of the API.
const MAX_EXCERPT: usize = 200;

/// The error of a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// No token is set.
    #[error("no token: set POBLYSH_TOKEN or --token to an operator's token or a tenant's API key")]
    NoToken,
    /// The token would be sent in clear text.
    #[error("{0} is not https, so the token would cross the network unencrypted; use an https URL")]
    Insecure(Url),
    /// The client cannot be built.
    #[error("failed to build the HTTP client")]
    Client(#[source] reqwest::Error),
    /// There is no response.
    #[error(
        "failed to reach the API at {url}; check --url or POBLYSH_URL, and that api-server runs"
    )]
    Unreachable {
        /// The API's URL.
        url: Url,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// The response ended early.
    #[error("failed to read the response")]
    Body(#[source] reqwest::Error),
    /// The response is not one of the API.
    #[error(
        "the response with status {0} is not JSON; check that --url is the URL of an api-server"
    )]
    NotJson(StatusCode),
    /// A problem that the API reports.
    #[error("{0}")]
    Problem(Box<Problem>),
    /// An error response without a problem.
    #[error("{status}: {excerpt}; check that --url is the URL of an api-server")]
    Unexpected {
        /// The status.
        status: StatusCode,
        /// The beginning of the body.
        excerpt: String,
    },
}

/// The body of the API's error responses (RFC 9457).
#[derive(Debug, Deserialize)]
pub(crate) struct Problem {
    status: u16,
    code: String,
    message: String,
    details: Option<Value>,
    retry_after: Option<u64>,
}

impl ApiError {
    /// The error of a response.
    pub(super) async fn of_response(response: Response) -> Self {
        let status = response.status();
        let bytes = response.bytes().await.unwrap_or_default();
        if let Ok(problem) = serde_json::from_slice(&bytes) {
            return Self::Problem(Box::new(problem));
        }
        let text = String::from_utf8_lossy(&bytes);
        Self::Unexpected {
            status,
            excerpt: table::clean(text.trim())
                .chars()
                .take(MAX_EXCERPT)
                .collect(),
        }
    }

    /// The time after which the API allows another attempt, if it states one.
    pub(crate) fn delay(&self) -> Option<Duration> {
        match self {
            Self::Problem(problem) => problem.retry_after.map(Duration::from_secs),
            _ => None,
        }
    }

    /// Whether a later attempt may succeed.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Body(_) => true,
            Self::Problem(problem) => problem.status == 429 || problem.status >= 500,
            Self::Unexpected { status, .. } => status.is_server_error(),
            _ => false,
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { status, code, .. } = self;
        write!(f, "{} ({status} {code})", table::clean(&self.message))?;
        let mut lines = String::new();
        list_details(self.details.as_ref().unwrap_or(&Value::Null), &mut lines);
        f.write_str(&lines)?;
        if let Some(seconds) = self.retry_after {
            write!(f, "\n  try again in {seconds} s")?;
        }
        let hint = match (self.status, self.code.as_str()) {
            (401, _) => "set POBLYSH_TOKEN or --token to a valid operator's token or API key",
            (_, "tenant_required") => "add --tenant ID; `poblysh tenants list` shows the ids",
            (403, _) => "use a token with more rights",
            _ => return Ok(()),
        };
        write!(f, "\n  {hint}")
    }
}

/// Writes the scalars of a problem's details, one line for each object.
fn list_details(value: &Value, lines: &mut String) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| list_details(value, lines)),
        Value::Object(fields) => {
            let scalars: Vec<String> = fields
                .iter()
                .filter(|(_, value)| !value.is_object() && !has_objects(value))
                .map(|(name, value)| format!("{name}: {}", table::text(value)))
                .collect();
            if !scalars.is_empty() {
                // Writing to a String does not fail.
                write!(lines, "\n  {}", table::clean(&scalars.join(", "))).unwrap_or_default();
            }
            let nested = fields
                .values()
                .filter(|value| value.is_object() || has_objects(value));
            nested.for_each(|value| list_details(value, lines));
        }
        _ => {}
    }
}

fn has_objects(value: &Value) -> bool {
    value
        .as_array()
        .is_some_and(|values| values.iter().any(Value::is_object))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn problem(value: Value) -> String {
        let problem: Problem = serde_json::from_value(value).expect("a problem");
        problem.to_string()
    }

    #[test]
    fn problem_names_its_fields_and_the_next_step() {
        let text = problem(json!({
            "type": "urn:poblysh:problem:invalid_parameters", "title": "Bad Request", "status": 400,
            "code": "invalid_parameters", "message": "Parameters are invalid.",
            "details": { "fields": [{ "field": "limit", "problem": "must be at most 200" }] },
        }));
        assert_eq!(
            text,
            "Parameters are invalid. (400 invalid_parameters)\n  field: limit, problem: must be at most 200"
        );
        let text = problem(json!({
            "status": 400, "code": "tenant_required", "message": "Name a tenant.",
        }));
        assert!(text.contains("--tenant ID"), "{text}");
        let text = problem(json!({
            "status": 429, "code": "rate_limited", "message": "Slow down.", "retry_after": 7,
        }));
        assert!(text.ends_with("try again in 7 s"), "{text}");
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z]{1,5}", inner, 0..4)
                    .prop_map(|fields| fields.into_iter().collect::<Value>()),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_details_are_shown_without_control_characters(details in any_json(), message: String) {
            let text = problem(json!({
                "status": 422, "code": "invalid", "message": message, "details": details,
            }));
            prop_assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        }
    }
}
