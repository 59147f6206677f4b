//! Tests of limits in error responses and of observed limits.

use chrono::Duration;
use serde_json::json;
use wiremock::matchers::any;
use wiremock::{Mock, ResponseTemplate};

use super::{github, now};
use crate::connectors::{Access, Connector, ConnectorError, SyncRequest};
use crate::model::{ExternalAccount, StreamSpec};

pub(super) fn root_request() -> SyncRequest {
    SyncRequest {
        access: Access {
            account: ExternalAccount {
                id: "5".to_owned(),
                name: "octo-org".to_owned(),
                stable_id: "6811672".to_owned(),
                settings: json!(null),
            },
            token: "ghs_token".into(),
            user_token: None,
        },
        stream: StreamSpec {
            key: "repositories".to_owned(),
            resource_id: None,
            target: json!(null),
        },
        cursor: None,
        backfill_from: now() - Duration::days(90),
        upper_bound: now(),
        resync_from: None,
        reconcile_from: None,
        failures: 0,
        priority: crate::http::Priority::Poll,
        directory: std::sync::Arc::default(),
    }
}

struct Case {
    status: u16,
    headers: &'static [(&'static str, &'static str)],
    message: &'static str,
    /// Seconds until the retry, or the code of another error.
    expected: Result<i64, &'static str>,
}

// 2026-11-23T12:00:00Z is 1795435200.
const CASES: &[Case] = &[
    Case {
        status: 403,
        headers: &[
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "1795435800"),
        ],
        message: "API rate limit exceeded for installation ID 5.",
        expected: Ok(600),
    },
    Case {
        status: 429,
        headers: &[
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "1795435800"),
        ],
        message: "API rate limit exceeded for installation ID 5.",
        expected: Ok(600),
    },
    Case {
        // `Retry-After` takes precedence.
        status: 403,
        headers: &[
            ("retry-after", "30"),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "1795435800"),
        ],
        message: "You have exceeded a secondary rate limit.",
        expected: Ok(30),
    },
    Case {
        status: 403,
        headers: &[("retry-after", "30"), ("x-ratelimit-remaining", "4000")],
        message: "Must have push access to repository",
        expected: Ok(30),
    },
    Case {
        status: 403,
        headers: &[
            ("x-ratelimit-remaining", "4000"),
            ("x-ratelimit-reset", "1795435800"),
        ],
        message: "You have exceeded a secondary rate limit. Please wait a few minutes.",
        expected: Ok(60),
    },
    Case {
        status: 403,
        headers: &[],
        message: "You have triggered an abuse detection mechanism.",
        expected: Ok(60),
    },
    Case {
        status: 429,
        headers: &[],
        message: "",
        expected: Ok(60),
    },
    Case {
        status: 429,
        headers: &[("retry-after", "Mon, 23 Nov 2026 12:00:08 GMT")],
        message: "",
        expected: Ok(8),
    },
    Case {
        // A window that has just ended causes no busy loop.
        status: 403,
        headers: &[
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "1795435199"),
        ],
        message: "",
        expected: Ok(1),
    },
    Case {
        // The duration of a limit is bounded.
        status: 403,
        headers: &[("retry-after", "4000000000")],
        message: "",
        expected: Ok(7200),
    },
    Case {
        status: 403,
        headers: &[
            ("x-ratelimit-remaining", "4999"),
            ("x-accepted-github-permissions", "actions=read"),
        ],
        message: "Resource not accessible by integration",
        expected: Err("permission"),
    },
    Case {
        status: 401,
        headers: &[],
        message: "Bad credentials",
        expected: Err("unauthorized"),
    },
    Case {
        status: 404,
        headers: &[],
        message: "Not Found",
        expected: Err("permission"),
    },
    Case {
        status: 410,
        headers: &[],
        message: "Issues are disabled",
        expected: Err("permission"),
    },
    Case {
        status: 451,
        headers: &[],
        message: "Repository access blocked",
        expected: Err("permission"),
    },
    Case {
        status: 400,
        headers: &[],
        message: "",
        expected: Err("permanent"),
    },
    Case {
        status: 422,
        headers: &[],
        message: "Validation Failed",
        expected: Err("permanent"),
    },
    Case {
        status: 500,
        headers: &[],
        message: "",
        expected: Err("transient"),
    },
    Case {
        status: 502,
        headers: &[],
        message: "",
        expected: Err("transient"),
    },
    Case {
        status: 503,
        headers: &[("retry-after", "5")],
        message: "",
        expected: Err("transient"),
    },
];

#[tokio::test]
async fn error_responses_are_mapped() {
    for case in CASES {
        let (server, github, rate_limiter) = github().await;
        let mut response =
            ResponseTemplate::new(case.status).set_body_json(json!({ "message": case.message }));
        for (name, value) in case.headers {
            response = response.insert_header(*name, *value);
        }
        Mock::given(any())
            .respond_with(response)
            .mount(&server)
            .await;
        let error = github.sync(root_request()).await.expect_err("an error");
        let label = format!(
            "{} {:?} {:?}: {error:?}",
            case.status, case.headers, case.message
        );
        match (case.expected, error) {
            (Ok(seconds), ConnectorError::RateLimited { retry_at, .. }) => {
                assert_eq!(retry_at, now() + Duration::seconds(seconds), "{label}");
                let (account, _, seen) = rate_limiter.seen().pop().expect("an observation");
                assert_eq!(
                    (account.as_str(), seen.blocked_until),
                    ("5", Some(retry_at)),
                    "{label}"
                );
            }
            (Err(code), error) => assert_eq!(error.code(), code, "{label}"),
            (Ok(_), _) => panic!("{label}"),
        }
    }
}

#[tokio::test]
async fn overlong_retry_after_uses_default() {
    let (server, github, _) = github().await;
    Mock::given(any())
        .respond_with(
            ResponseTemplate::new(429).insert_header("retry-after", "99999999999999999999"),
        )
        .mount(&server)
        .await;
    let error = github.sync(root_request()).await.expect_err("an error");
    let ConnectorError::RateLimited { retry_at, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(retry_at, now() + Duration::seconds(60));
}

#[tokio::test]
async fn successful_response_reports_limits_to_rate_limiter() {
    let (server, github, rate_limiter) = github().await;
    Mock::given(any())
        .respond_with(
            ResponseTemplate::new(200)
                .set_body_json(json!({ "total_count": 0, "repositories": [] }))
                .insert_header("x-ratelimit-limit", "5000")
                .insert_header("x-ratelimit-remaining", "4321")
                .insert_header("x-ratelimit-reset", "1795435800")
                .insert_header("x-ratelimit-resource", "core"),
        )
        .mount(&server)
        .await;
    github.sync(root_request()).await.expect("a page");
    let (account, _, seen) = rate_limiter.seen().pop().expect("an observation");
    assert_eq!(account, "5");
    assert_eq!((seen.limit, seen.remaining), (Some(5000), Some(4321)));
    assert_eq!(seen.reset_at, Some(now() + Duration::seconds(600)));
    assert_eq!(seen.blocked_until, None);
}

#[tokio::test]
async fn non_json_response_is_transient_and_not_quoted() {
    let (server, github, _) = github().await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(200).set_body_string("<html>confidential</html>"))
        .mount(&server)
        .await;
    let error = github.sync(root_request()).await.expect_err("an error");
    assert_eq!(error.code(), "transient");
    assert!(!format!("{error:?}").contains("confidential"));
}

#[tokio::test]
async fn quota_of_rejected_token_is_ignored() {
    let (server, github, rate_limiter) = github().await;
    let response = ResponseTemplate::new(401)
        .insert_header("x-ratelimit-limit", "60")
        .insert_header("x-ratelimit-remaining", "0")
        .insert_header("x-ratelimit-reset", "1795435800")
        .set_body_json(json!({ "message": "Bad credentials" }));
    Mock::given(any())
        .respond_with(response)
        .mount(&server)
        .await;
    let error = github.sync(root_request()).await.expect_err("an error");
    assert_eq!(error.code(), "unauthorized");
    let (.., seen) = rate_limiter.seen().pop().expect("an observation");
    assert_eq!((seen.limit, seen.remaining, seen.spent), (None, None, 0));
    assert_eq!(seen.blocked_until, None);
}
