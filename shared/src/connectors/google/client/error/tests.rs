//! The table of Google's errors.

use chrono::TimeDelta;
use http::HeaderValue;
use serde_json::{Value, json};

use super::*;

const SCOPE: &str = "a.scope";

fn now() -> DateTime<Utc> {
    "2026-11-23T10:00:00Z".parse().expect("a time")
}

/// Classifies a response of an API.
fn classify(status: u16, headers: &HeaderMap, body: &Value) -> ConnectorError {
    let body = Bytes::from(body.to_string());
    let error = CallError {
        operation: "any",
        status: StatusCode::from_u16(status).expect("a status"),
        headers,
        body: ErrorBody::parse(&body),
        scope: Some(SCOPE),
    };
    error.classify(now())
}

fn code(status: u16, body: &Value) -> &'static str {
    classify(status, &HeaderMap::new(), body).code()
}

/// An error with a reason, as the older APIs send it.
fn reason(status: u16, reason: &str) -> Value {
    json!({ "error": {
        "code": status, "message": "A message.",
        "errors": [{ "domain": "global", "reason": reason, "message": "A message." }],
    } })
}

/// An error with an `ErrorInfo`, as the newer APIs send it.
fn info(status: u16, reason: &str, metadata: &Value) -> Value {
    json!({ "error": {
        "code": status, "message": "A message.", "status": "PERMISSION_DENIED",
        "details": [
            { "@type": "type.googleapis.com/google.rpc.Help", "links": [] },
            { "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason,
              "domain": "googleapis.com", "metadata": metadata },
        ],
    } })
}

#[test]
fn reason_decides_and_not_the_status() {
    for (status, name, expected) in [
        (403, "rateLimitExceeded", "rate_limited"),
        (403, "userRateLimitExceeded", "rate_limited"),
        (403, "quotaExceeded", "rate_limited"),
        (429, "quotaExceeded", "rate_limited"),
        (403, "dailyLimitExceeded", "rate_limited"),
        (403, "insufficientPermissions", "permission"),
        (401, "insufficientPermissions", "permission"),
        (403, "forbidden", "permission"),
        (403, "domainPolicy", "permission"),
        (403, "insufficientFilePermissions", "permission"),
        (403, "appNotAuthorizedToFile", "permission"),
        (403, "accessNotConfigured", "permanent"),
        (401, "push.webhookUrlUnauthorized", "permanent"),
        (400, "push.webhookUrlNotHttps", "permanent"),
        (400, "channelIdNotUnique", "permanent"),
        (400, "pushNotSupportedForRequestedResource", "permission"),
        (401, "authError", "unauthorized"),
        (404, "notFound", "permission"),
        (400, "invalid", "permanent"),
        (500, "backendError", "transient"),
        (503, "backendError", "transient"),
    ] {
        assert_eq!(
            code(status, &reason(status, name)),
            expected,
            "{status} {name}"
        );
    }
    for (name, expected) in [
        ("RATE_LIMIT_EXCEEDED", "rate_limited"),
        ("ACCESS_TOKEN_SCOPE_INSUFFICIENT", "permission"),
        ("SERVICE_DISABLED", "permanent"),
    ] {
        assert_eq!(code(403, &info(403, name, &json!({}))), expected, "{name}");
    }
}

#[test]
fn unreadable_bodies_fall_back_to_the_status() {
    for body in [
        json!(null),
        json!([]),
        json!({ "error": 7 }),
        json!({ "error": { "errors": "rateLimitExceeded" } }),
        json!({ "error": { "errors": [{ "reason": {} }, null] } }),
    ] {
        assert_eq!(code(403, &body), "permission", "{body}");
        assert_eq!(code(429, &body), "rate_limited", "{body}");
        assert_eq!(code(401, &body), "unauthorized", "{body}");
        assert_eq!(code(502, &body), "transient", "{body}");
    }
}

#[test]
fn denial_names_the_missing_scope() {
    let body = info(403, "ACCESS_TOKEN_SCOPE_INSUFFICIENT", &json!({}));
    match classify(403, &HeaderMap::new(), &body) {
        ConnectorError::Denied { source, .. } => {
            let missing = source.downcast_ref::<MissingScope>();
            assert_eq!(missing, Some(&MissingScope(SCOPE)));
        }
        other => panic!("{other:?}"),
    }
}

/// The end and the scope of a limit, in seconds from now.
fn limit(headers: &HeaderMap, body: &Value) -> (i64, LimitScope) {
    match classify(403, headers, body) {
        ConnectorError::RateLimited {
            retry_at, scope, ..
        } => ((retry_at - now()).num_seconds(), scope),
        other => panic!("{other:?}"),
    }
}

#[test]
fn limit_ends_when_google_says_so() {
    let none = HeaderMap::new();
    let body = reason(403, "userRateLimitExceeded");
    assert_eq!(limit(&none, &body), (60, LimitScope::Account));
    let mut stated = HeaderMap::new();
    stated.insert("retry-after", HeaderValue::from_static("17"));
    assert_eq!(limit(&stated, &body), (17, LimitScope::Account));

    let mut in_text = body.clone();
    in_text["error"]["message"] =
        json!("User-rate limit exceeded.  Retry after 2026-11-23T10:00:05.000Z");
    assert_eq!(limit(&none, &in_text), (5, LimitScope::Account));
    for nonsense in ["Retry after ", "Retry after soon", "Retry after 2026-11-23"] {
        in_text["error"]["message"] = json!(nonsense);
        assert_eq!(limit(&none, &in_text).0, 60, "{nonsense}");
    }
    in_text["error"]["message"] = json!("Retry after 9999-01-01T00:00:00Z");
    let longest = TimeDelta::hours(2).num_seconds();
    assert_eq!(limit(&none, &in_text).0, longest, "a wrong time");
}

#[test]
fn project_limits_concern_every_account() {
    let none = HeaderMap::new();
    for (quota_limit, scope) in [
        ("defaultPerMinutePerProject", LimitScope::Provider),
        ("defaultPerMinutePerUser", LimitScope::Account),
    ] {
        let metadata = json!({ "quota_limit": quota_limit, "quota_limit_value": "600" });
        let body = info(403, "RATE_LIMIT_EXCEEDED", &metadata);
        assert_eq!(limit(&none, &body), (60, scope), "{quota_limit}");
    }
    let daily = reason(403, "dailyLimitExceeded");
    assert_eq!(limit(&none, &daily), (4 * 3_600, LimitScope::Provider));
}

#[test]
fn token_endpoint_codes_are_recognized_at_any_status() {
    for status in [200, 400, 401, 500] {
        for name in [
            "server_error",
            "temporarily_unavailable",
            "internal_failure",
        ] {
            assert_eq!(
                code(status, &json!({ "error": name })),
                "transient",
                "{name}"
            );
            let described = json!({ "error": "other", "error_description": name });
            assert_eq!(code(status, &described), "transient", "{name}");
        }
    }
    for name in ["invalid_client", "unauthorized_client", "deleted_client"] {
        for status in [400, 401] {
            assert_eq!(
                code(status, &json!({ "error": name })),
                "permanent",
                "{name}"
            );
        }
    }
    assert_eq!(code(400, &json!({ "error": "invalid_grant" })), "permanent");
}
