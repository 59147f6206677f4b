//! The table of Zoho's errors.

use chrono::TimeDelta;
use http::HeaderValue;
use serde_json::json;

use super::*;
use crate::connectors::zoho::tests::{PRODUCT, now};
use crate::model::LimitScope;

const SCOPE: &str = "ZohoAny.things.READ";

/// Classifies a response of an API.
fn classify(status: u16, headers: &HeaderMap, body: &[u8]) -> ConnectorError {
    let body = Bytes::copy_from_slice(body);
    let stated = ErrorBody::parse(&body);
    let error = CallError {
        operation: "any",
        http_status: StatusCode::from_u16(status).expect("a status"),
        headers,
        is_page: !body.is_empty() && !stated.is_json,
        body: stated,
        scope: Some(SCOPE),
        product: &PRODUCT,
    };
    error.classify(now())
}

fn code(status: u16, body: &Value) -> &'static str {
    classify(status, &HeaderMap::new(), body.to_string().as_bytes()).code()
}

/// An error as Cliq's second version sends it.
fn cliq(code: &str) -> Value {
    json!({ "code": code, "message": "A message." })
}

/// An error as Cliq's third version sends it.
fn nested(code: &str) -> Value {
    json!({ "error": { "code": code, "message": "A message." } })
}

/// An error as Mail sends it.
fn mail(status: u16, code: &str) -> Value {
    json!({
        "status": { "code": status, "description": "A description." },
        "data": { "errorCode": code, "moreInfo": "More." },
    })
}

#[test]
fn code_decides_before_the_status() {
    for (status, body, expected) in [
        (400, cliq("request_limit_exceeded"), "rate_limited"),
        (400, nested("rate_limit_exceeded"), "rate_limited"),
        (429, json!({ "message": "A message." }), "rate_limited"),
        (
            400,
            mail(400, "URL_ROLLING_THROTTLES_LIMIT_EXCEEDED"),
            "rate_limited",
        ),
        (401, cliq("oauthtoken_invalid"), "unauthorized"),
        (400, cliq("oauthtoken_invalid"), "unauthorized"),
        (401, mail(401, "INVALID_OAUTHTOKEN"), "unauthorized"),
        (404, mail(404, "INVALID_OAUTHTOKEN"), "unauthorized"),
        (401, cliq("oauthtoken_scope_invalid"), "permission"),
        (404, mail(404, "INVALID_OAUTHSCOPE"), "permission"),
        (401, nested("OAUTH_SCOPE_MISMATCH"), "permission"),
        (403, nested("chat_access_denied"), "permission"),
        (400, cliq("request_url_invalid"), "permission"),
        (400, mail(400, "PATTERN_NOT_MATCHED"), "permanent"),
        (404, mail(404, "INVALID_METHOD"), "permission"),
        (400, cliq("something_new"), "permanent"),
        (500, cliq("oauthtoken_invalid"), "transient"),
        (503, mail(401, "INVALID_OAUTHTOKEN"), "transient"),
    ] {
        assert_eq!(code(status, &body), expected, "{status} {body}");
    }
}

#[test]
fn status_in_body_counts_with_any_status() {
    for (http, stated, expected) in [
        (200, json!(400), "permanent"),
        (200, json!("400"), "permanent"),
        (200, json!(401), "unauthorized"),
        (200, json!(404), "permission"),
        (200, json!(429), "rate_limited"),
        (200, json!(500), "transient"),
        (400, json!(429), "rate_limited"),
        (400, json!(404), "permission"),
        (404, json!(200), "permission"),
        (429, json!(400), "rate_limited"),
        (400, json!(70_000), "permanent"),
        (400, json!(999), "permanent"),
        (400, json!({}), "permanent"),
    ] {
        let body = json!({ "status": { "code": stated, "description": "A description." } });
        assert_eq!(code(http, &body), expected, "{http} {body}");
    }
}

#[test]
fn success_is_no_failure() {
    for body in [
        json!({ "status": { "code": 200, "description": "success" }, "data": [] }),
        json!({ "status": { "code": 201 }, "data": { "errorCode": null } }),
        json!({ "status": "created", "name": "#general" }),
        json!({ "data": [{ "error": "a text in a row" }] }),
        json!({ "error": null }),
        json!([]),
    ] {
        let stated = ErrorBody::parse(&Bytes::from(body.to_string()));
        assert!(!stated.is_failure(), "{body}");
    }
}

#[test]
fn unreadable_bodies_fall_back_to_the_status() {
    for body in [
        "",
        " ",
        "<html></html>",
        "null",
        "[]",
        "{\"error\":7}",
        "{\"status\":[],\"data\":7}",
        "{\"code\":{},\"message\":[]}",
    ] {
        let code = |status| classify(status, &HeaderMap::new(), body.as_bytes()).code();
        assert_eq!(code(401), "unauthorized", "{body}");
        assert_eq!(code(403), "permission", "{body}");
        assert_eq!(code(429), "rate_limited", "{body}");
        assert_eq!(code(502), "transient", "{body}");
    }
}

#[test]
fn denial_names_the_missing_scope() {
    let body = cliq("oauthtoken_scope_invalid").to_string();
    match classify(401, &HeaderMap::new(), body.as_bytes()) {
        ConnectorError::Denied { source, .. } => {
            let missing = source.downcast_ref::<MissingScope>();
            assert_eq!(missing, Some(&MissingScope(SCOPE)));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn lock_lasts_as_long_as_the_products() {
    let limit = |headers: &HeaderMap, body: &str| match classify(429, headers, body.as_bytes()) {
        ConnectorError::RateLimited {
            retry_at, scope, ..
        } => ((retry_at - now()), scope),
        other => panic!("{other:?}"),
    };
    let none = HeaderMap::new();
    let locked = (TimeDelta::minutes(15), LimitScope::Operation);
    assert_eq!(limit(&none, &mail(429, "").to_string()), locked);
    assert_eq!(
        limit(&none, &nested("rate_limit_exceeded").to_string()),
        locked
    );
    assert_eq!(limit(&none, ""), locked);
    let page = limit(&none, "<html>Slow down.</html>");
    assert_eq!(page.0, TimeDelta::seconds(60), "of a proxy");
    let mut stated = HeaderMap::new();
    stated.insert("retry-after", HeaderValue::from_static("17"));
    assert_eq!(limit(&stated, "{}").0, TimeDelta::seconds(17));
}
