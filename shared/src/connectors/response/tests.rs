//! One table of answers, and every connector meets all of it.

use std::sync::Arc;

use serde_json::json;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::config::{Env, Reader};
use crate::connectors::testing::deps;
use crate::connectors::{
    Access, Connector, ConnectorSettings, Directory, ExternalAccount, RefreshRequest, Registry,
    StreamSpec, SyncRequest,
};
use crate::http::Priority;

fn now() -> DateTime<Utc> {
    "2026-11-23T12:00:00Z".parse().expect("a time")
}

/// Every connector there is, with this server in its provider's place.
fn connectors(base: &str) -> Vec<Arc<dyn Connector>> {
    let env = Env::from_pairs([
        ("POBLYSH_GITHUB_APP_ID", "12345"),
        ("POBLYSH_GITHUB_APP_SLUG", "poblysh"),
        ("POBLYSH_GITHUB_CLIENT_ID", "client"),
        ("POBLYSH_GITHUB_CLIENT_SECRET", "client-secret-of-tests"),
        ("POBLYSH_GITHUB_WEBHOOK_SECRET", "webhook-secret-of-tests"),
        (
            "POBLYSH_GITHUB_PRIVATE_KEY",
            include_str!("../github/fixtures/test-app.pem"),
        ),
        ("POBLYSH_GITHUB_WEB_BASE_URL", base),
        ("POBLYSH_GITHUB_API_BASE_URL", base),
        ("POBLYSH_SLACK_CLIENT_ID", "client"),
        ("POBLYSH_SLACK_CLIENT_SECRET", "client-secret-of-tests"),
        ("POBLYSH_SLACK_WEBHOOK_SECRET", "webhook-secret-of-tests"),
        ("POBLYSH_SLACK_BASE_URL", base),
        ("POBLYSH_JIRA_CLIENT_ID", "client"),
        ("POBLYSH_JIRA_CLIENT_SECRET", "client-secret-of-tests"),
        ("POBLYSH_JIRA_AUTH_BASE_URL", base),
        ("POBLYSH_JIRA_API_BASE_URL", base),
    ]);
    let mut reader = Reader::new(&env);
    let settings = ConnectorSettings::from_reader(&mut reader);
    reader.finish().expect("settings that can be used");
    let (deps, _) = deps(now());
    let registry = Registry::new(settings, &deps).expect("connectors");
    registry
        .iter()
        .map(|(descriptor, _)| registry.get(descriptor.slug).expect("it is configured"))
        .collect()
}

/// What reading the root stream ends with.
async fn outcome(connector: &dyn Connector) -> Result<(), ConnectorError> {
    let account = ExternalAccount {
        settings: json!({ "url": "https://acme.example" }),
        ..ExternalAccount::of_route("acme")
    };
    let request = SyncRequest {
        access: Access {
            account,
            token: "a-token".into(),
            person: None,
        },
        stream: StreamSpec {
            key: connector.descriptor().root_stream.to_owned(),
            resource_id: None,
            target: json!(null),
        },
        cursor: None,
        horizon: now() - Duration::days(1),
        reconcile_from: None,
        failures: 0,
        until: now(),
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
    /// For limits: how many seconds they last.
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
        "a body that was cut off",
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
    case("401 without known words", 401, HTML, "unauthorized"),
    case("403 without known words", 403, HTML, "permission"),
    case(
        "403 with JSON",
        403,
        r#"{"message":"Not for you"}"#,
        "permission",
    ),
    Case {
        headers: &[("retry-after", "17")],
        seconds: Some(17),
        ..case("403 that says when to come back", 403, HTML, "rate_limited")
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
    limit("429 of no time", &[("retry-after", "0")], 1),
    limit(
        "429 with a date that has passed",
        &[("retry-after", "Mon, 23 Nov 2026 11:00:00 GMT")],
        1,
    ),
    limit("429 for a century", &[("retry-after", "4294967295")], 7_200),
    limit("429 without a time", NO_HEADERS, 60),
];

impl Case {
    /// A server that gives this answer to everything.
    async fn served(&self) -> MockServer {
        let server = MockServer::start().await;
        let mut answer = ResponseTemplate::new(self.status).set_body_string(self.body);
        for (name, value) in self.headers {
            answer = answer.insert_header(*name, *value);
        }
        Mock::given(any()).respond_with(answer).mount(&server).await;
        server
    }

    fn assert_means(&self, error: &ConnectorError, who: &str) {
        assert_eq!(error.code(), self.code, "{who}: {error:?}");
        if let (ConnectorError::RateLimited { retry_at, .. }, Some(seconds)) = (error, self.seconds)
        {
            assert_eq!((*retry_at - now()).num_seconds(), seconds, "{who}");
        }
    }
}

#[tokio::test]
async fn answers_mean_the_same_to_every_connector() {
    for case in CASES {
        let server = case.served().await;
        for connector in connectors(&server.uri()) {
            let who = format!("{}: {}", connector.descriptor().slug, case.name);
            let error = outcome(&*connector).await.expect_err(&who);
            case.assert_means(&error, &who);
        }
    }
}

/// How renewing a token ends.
async fn renewal(connector: &dyn Connector) -> Result<(), ConnectorError> {
    let request = RefreshRequest {
        // GitHub's accounts have numbers.
        account: ExternalAccount::of_route("5"),
        access_token: Some("a-token".into()),
        refresh_token: Some("a-refresh-token".into()),
    };
    connector.refresh_token(request).await.map(|_| ())
}

#[tokio::test]
async fn limits_and_outages_of_token_endpoints_end_no_grant() {
    let passes = |case: &&Case| matches!(case.code, "rate_limited" | "transient");
    for case in CASES.iter().filter(passes) {
        let server = case.served().await;
        for connector in connectors(&server.uri()) {
            let who = format!("{}: {}", connector.descriptor().slug, case.name);
            let error = renewal(&*connector).await.expect_err(&who);
            case.assert_means(&error, &who);
        }
    }
}

#[tokio::test]
async fn known_words_of_a_403_are_each_providers_own() {
    for (slug, status, body, code) in [
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
    ] {
        let server = MockServer::start().await;
        let answer = ResponseTemplate::new(status).set_body_string(body);
        Mock::given(any()).respond_with(answer).mount(&server).await;
        let connectors = connectors(&server.uri());
        let connector = connectors.iter().find(|one| one.descriptor().slug == slug);
        let error = outcome(&**connector.expect(slug)).await.expect_err(body);
        assert_eq!(error.code(), code, "{slug}: {body}");
    }
}
