//! A table of responses that every connector maps to the same errors.

use std::sync::Arc;

use serde_json::json;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::config::Reader;
use crate::connectors::testing::{deps, env};
use crate::connectors::{
    Access, Connector, ConnectorSettings, Directory, RefreshRequest, Registry, SyncRequest,
};
use crate::http::Priority;
use crate::model::{ExternalAccount, StreamSpec};

fn now() -> DateTime<Utc> {
    "2026-11-23T12:00:00Z".parse().expect("a time")
}

/// All connectors, with this server as their provider.
fn connectors(base: &str) -> Vec<Arc<dyn Connector>> {
    let env = env(&ConnectorSettings::of_tests(base));
    let mut reader = Reader::new(&env);
    let settings = ConnectorSettings::from_reader(&mut reader);
    reader.finish().expect("valid settings");
    let (deps, _) = deps(now());
    let registry = Registry::new(settings, &deps).expect("connectors");
    registry
        .iter()
        .map(|(descriptor, _)| {
            registry
                .get(descriptor.slug)
                .expect("a configured provider")
        })
        .collect()
}

/// Reads the root stream.
async fn read_root(connector: &dyn Connector) -> Result<(), ConnectorError> {
    let account = ExternalAccount {
        settings: json!({
            "url": "https://acme.example", "permission_id": "1001",
            "data_center": "eu", "account_id": "1001",
        }),
        ..ExternalAccount::from_route("acme")
    };
    let request = SyncRequest {
        access: Access {
            account,
            token: "a-token".into(),
            user_token: None,
        },
        stream: StreamSpec {
            key: connector.descriptor().root_stream.to_owned(),
            resource_id: None,
            target: json!(null),
        },
        cursor: None,
        backfill_from: now() - Duration::days(1),
        resync_from: None,
        reconcile_from: None,
        failures: 0,
        upper_bound: now(),
        priority: Priority::Poll,
        directory: Arc::new(Directory::default()),
    };
    connector.sync(request).await.map(|_| ())
}

struct Case {
    name: &'static str,
    status: u16,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
    code: &'static str,
    /// Expected duration of a rate limit, in seconds.
    seconds: Option<i64>,
}

const HTML: &str = "<!DOCTYPE html><html><body>We will be right back.</body></html>";
const NO_HEADERS: &[(&str, &str)] = &[];

const fn case(name: &'static str, status: u16, body: &'static str, code: &'static str) -> Case {
    Case {
        name,
        status,
        headers: NO_HEADERS,
        body,
        code,
        seconds: None,
    }
}

const fn limit(
    name: &'static str,
    headers: &'static [(&'static str, &'static str)],
    seconds: i64,
) -> Case {
    Case {
        headers,
        seconds: Some(seconds),
        ..case(name, 429, HTML, "rate_limited")
    }
}

const CASES: &[Case] = &[
    case("an HTML page with 200", 200, HTML, "transient"),
    case("an empty body with 200", 200, "", "transient"),
    case(
        "a truncated body",
        200,
        r#"{"ok":true,"values":[{"id""#,
        "transient",
    ),
    case(
        "JSON of another form",
        200,
        r#"{"surprise":[]}"#,
        "permanent",
    ),
    case("an HTML page with 502", 502, HTML, "transient"),
    case("JSON with 503", 503, r#"{"message":"down"}"#, "transient"),
    case("500 without a body", 500, "", "transient"),
    case("408", 408, HTML, "transient"),
    case("401 without an error code", 401, HTML, "unauthorized"),
    case("403 without an error code", 403, HTML, "permission"),
    case(
        "403 with JSON",
        403,
        r#"{"message":"Not for you"}"#,
        "permission",
    ),
    Case {
        headers: &[("retry-after", "17")],
        seconds: Some(17),
        ..case("403 with Retry-After", 403, HTML, "rate_limited")
    },
    case("404 of a proxy", 404, HTML, "permission"),
    case("410", 410, HTML, "permission"),
    case("400 of a proxy", 400, HTML, "permanent"),
    limit("429 in seconds", &[("retry-after", "17")], 17),
    limit(
        "429 with a date",
        &[("retry-after", "Mon, 23 Nov 2026 12:05:00 GMT")],
        300,
    ),
    limit("429 with zero seconds", &[("retry-after", "0")], 1),
    limit(
        "429 with a past date",
        &[("retry-after", "Mon, 23 Nov 2026 11:00:00 GMT")],
        1,
    ),
    limit("429 for a century", &[("retry-after", "4294967295")], 7_200),
    limit("429 without a time", NO_HEADERS, 60),
];

impl Case {
    /// Starts a server that sends this response to every request.
    async fn start_server(&self) -> MockServer {
        let server = MockServer::start().await;
        let mut response = ResponseTemplate::new(self.status).set_body_string(self.body);
        for (name, value) in self.headers {
            response = response.insert_header(*name, *value);
        }
        Mock::given(any())
            .respond_with(response)
            .mount(&server)
            .await;
        server
    }

    fn assert_maps_to(&self, error: &ConnectorError, label: &str) {
        assert_eq!(error.code(), self.code, "{label}: {error:?}");
        if let (ConnectorError::RateLimited { retry_at, .. }, Some(seconds)) = (error, self.seconds)
        {
            assert_eq!((*retry_at - now()).num_seconds(), seconds, "{label}");
        }
    }
}

#[tokio::test]
async fn responses_map_to_same_errors_for_every_provider() {
    for case in CASES {
        let server = case.start_server().await;
        for connector in connectors(&server.uri()) {
            let label = format!("{}: {}", connector.descriptor().slug, case.name);
            let error = read_root(&*connector).await.expect_err(&label);
            case.assert_maps_to(&error, &label);
        }
    }
}

/// Refreshes a token.
async fn refresh(connector: &dyn Connector) -> Result<(), ConnectorError> {
    let request = RefreshRequest {
        account: ExternalAccount {
            settings: json!({ "data_center": "eu" }),
            // GitHub's account ids are numbers.
            ..ExternalAccount::from_route("5")
        },
        access_token: Some("a-token".into()),
        refresh_token: Some("a-refresh-token".into()),
    };
    connector.refresh_token(request).await.map(|_| ())
}

#[tokio::test]
async fn temporary_token_endpoint_errors_end_no_grant() {
    let is_temporary = |case: &&Case| matches!(case.code, "rate_limited" | "transient");
    for case in CASES.iter().filter(is_temporary) {
        let server = case.start_server().await;
        for connector in connectors(&server.uri()) {
            let label = format!("{}: {}", connector.descriptor().slug, case.name);
            let error = refresh(&*connector).await.expect_err(&label);
            case.assert_maps_to(&error, &label);
        }
    }
}

/// Responses of providers with codes of their own: slug, status, body, and the expected error.
const CODES: &[(&str, u16, &str, &str)] = &[
    (
        "github",
        403,
        r#"{"message":"You have exceeded a secondary rate limit."}"#,
        "rate_limited",
    ),
    (
        "github",
        403,
        r#"{"message":"Resource not accessible by integration"}"#,
        "permission",
    ),
    (
        "jira",
        401,
        r#"{"code":401,"message":"Unauthorized; scope does not match"}"#,
        "permission",
    ),
    (
        "google_drive",
        403,
        r#"{"error":{"code":403,"status":"PERMISSION_DENIED","message":"Quota exceeded.",
                "errors":[{"domain":"usageLimits","reason":"rateLimitExceeded"}]}}"#,
        "rate_limited",
    ),
    (
        "google_drive",
        401,
        r#"{"error":{"code":401,"errors":[{"reason":"authError","location":"Authorization"}]}}"#,
        "unauthorized",
    ),
    (
        "google_drive",
        403,
        r#"{"error":{"code":403,"errors":[{"reason":"accessNotConfigured"}]}}"#,
        "permanent",
    ),
    (
        "google_calendar",
        403,
        r#"{"error":{"code":403,"status":"PERMISSION_DENIED","details":[
                {"reason":"RATE_LIMIT_EXCEEDED","metadata":{"quota_limit_value":"600"}}]}}"#,
        "rate_limited",
    ),
    (
        "google_calendar",
        403,
        r#"{"error":{"code":403,"errors":[{"reason":"insufficientPermissions"}]}}"#,
        "permission",
    ),
    (
        "gmail",
        403,
        r#"{"error":{"code":403,"errors":[{"domain":"usageLimits","reason":"userRateLimitExceeded"}]}}"#,
        "rate_limited",
    ),
    (
        "gmail",
        400,
        r#"{"error":{"code":400,"message":"Mail service not enabled",
                "errors":[{"domain":"global","reason":"failedPrecondition"}]}}"#,
        "permission",
    ),
    (
        "zoho_cliq",
        400,
        r#"{"code":"request_limit_exceeded","message":"Too many."}"#,
        "rate_limited",
    ),
    (
        "zoho_cliq",
        429,
        r#"{"error":{"code":"rate_limit_exceeded","message":"Too many."}}"#,
        "rate_limited",
    ),
    (
        "zoho_cliq",
        401,
        r#"{"code":"oauthtoken_invalid","message":"Invalid."}"#,
        "unauthorized",
    ),
    (
        "zoho_cliq",
        403,
        r#"{"code":"chat_access_denied","message":"Not a participant."}"#,
        "permission",
    ),
    (
        "zoho_mail",
        401,
        r#"{"status":{"code":401,"description":"Unauthorized"},
                "data":{"errorCode":"INVALID_OAUTHTOKEN"}}"#,
        "unauthorized",
    ),
    (
        "zoho_mail",
        200,
        r#"{"status":{"code":429,"description":"Too many requests"},"data":{}}"#,
        "rate_limited",
    ),
    (
        "zoho_mail",
        200,
        r#"{"status":{"code":400,"description":"Invalid Input"},
                "data":{"errorCode":"PATTERN_NOT_MATCHED","moreInfo":"start"}}"#,
        "permanent",
    ),
    (
        "zoho_mail",
        404,
        r#"{"status":{"code":404,"description":"Invalid Input"},
                "data":{"errorCode":"INVALID_OAUTHSCOPE"}}"#,
        "permission",
    ),
    (
        "slack",
        200,
        r#"{"ok":false,"error":"ratelimited"}"#,
        "rate_limited",
    ),
    (
        "slack",
        403,
        r#"{"ok":false,"error":"missing_scope","needed":"users:read"}"#,
        "permission",
    ),
    (
        "slack",
        200,
        r#"{"ok":false,"error":"internal_error"}"#,
        "transient",
    ),
];

#[tokio::test]
async fn error_codes_map_to_provider_specific_errors() {
    for (slug, status, body, code) in CODES.iter().copied() {
        let server = MockServer::start().await;
        let response = ResponseTemplate::new(status).set_body_string(body);
        Mock::given(any())
            .respond_with(response)
            .mount(&server)
            .await;
        let connectors = connectors(&server.uri());
        let connector = connectors.iter().find(|one| one.descriptor().slug == slug);
        let error = read_root(&**connector.expect(slug)).await.expect_err(body);
        assert_eq!(error.code(), code, "{slug}: {body}");
    }
}
