//! Limits are told from permissions, and what answers say about them reaches the gate.

use chrono::Duration;
use serde_json::json;
use wiremock::matchers::any;
use wiremock::{Mock, ResponseTemplate};

use super::{github, now};
use crate::connectors::{
    Access, Connector, ConnectorError, ExternalAccount, StreamSpec, SyncRequest,
};

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
            person: None,
        },
        stream: StreamSpec {
            key: "repositories".to_owned(),
            resource_id: None,
            target: json!(null),
        },
        cursor: None,
        horizon: now() - Duration::days(90),
        until: now(),
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
    /// Seconds to wait, or the code of another error.
    means: Result<i64, &'static str>,
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
        means: Ok(600),
    },
    Case {
        status: 429,
        headers: &[
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "1795435800"),
        ],
        message: "API rate limit exceeded for installation ID 5.",
        means: Ok(600),
    },
    Case {
        // The statement that is nearest comes first.
        status: 403,
        headers: &[
            ("retry-after", "30"),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "1795435800"),
        ],
        message: "You have exceeded a secondary rate limit.",
        means: Ok(30),
    },
    Case {
        status: 403,
        headers: &[("retry-after", "30"), ("x-ratelimit-remaining", "4000")],
        message: "Must have push access to repository",
        means: Ok(30),
    },
    Case {
        status: 403,
        headers: &[
            ("x-ratelimit-remaining", "4000"),
            ("x-ratelimit-reset", "1795435800"),
        ],
        message: "You have exceeded a secondary rate limit. Please wait a few minutes.",
        means: Ok(60),
    },
    Case {
        status: 403,
        headers: &[],
        message: "You have triggered an abuse detection mechanism.",
        means: Ok(60),
    },
    Case {
        status: 429,
        headers: &[],
        message: "",
        means: Ok(60),
    },
    Case {
        status: 429,
        headers: &[("retry-after", "Mon, 23 Nov 2026 12:00:08 GMT")],
        message: "",
        means: Ok(8),
    },
    Case {
        // A window that has just begun anew is not asked for in a loop.
        status: 403,
        headers: &[
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "1795435199"),
        ],
        message: "",
        means: Ok(1),
    },
    Case {
        // No limit is believed to last for years.
        status: 403,
        headers: &[("retry-after", "4000000000")],
        message: "",
        means: Ok(7200),
    },
    Case {
        status: 403,
        headers: &[
            ("x-ratelimit-remaining", "4999"),
            ("x-accepted-github-permissions", "actions=read"),
        ],
        message: "Resource not accessible by integration",
        means: Err("permission"),
    },
    Case {
        status: 401,
        headers: &[],
        message: "Bad credentials",
        means: Err("unauthorized"),
    },
    Case {
        status: 404,
        headers: &[],
        message: "Not Found",
        means: Err("permission"),
    },
    Case {
        status: 410,
        headers: &[],
        message: "Issues are disabled",
        means: Err("permission"),
    },
    Case {
        status: 451,
        headers: &[],
        message: "Repository access blocked",
        means: Err("permission"),
    },
    Case {
        status: 400,
        headers: &[],
        message: "",
        means: Err("permanent"),
    },
    Case {
        status: 422,
        headers: &[],
        message: "Validation Failed",
        means: Err("permanent"),
    },
    Case {
        status: 500,
        headers: &[],
        message: "",
        means: Err("transient"),
    },
    Case {
        status: 502,
        headers: &[],
        message: "",
        means: Err("transient"),
    },
    Case {
        status: 503,
        headers: &[("retry-after", "5")],
        message: "",
        means: Err("transient"),
    },
];

#[tokio::test]
async fn refusals_mean_what_they_mean() {
    for case in CASES {
        let (server, github, gate) = github().await;
        let mut answer =
            ResponseTemplate::new(case.status).set_body_json(json!({ "message": case.message }));
        for (name, value) in case.headers {
            answer = answer.insert_header(*name, *value);
        }
        Mock::given(any()).respond_with(answer).mount(&server).await;
        let error = github.sync(root_request()).await.expect_err("a refusal");
        let what = format!(
            "{} {:?} {:?}: {error:?}",
            case.status, case.headers, case.message
        );
        match (case.means, error) {
            (Ok(seconds), ConnectorError::RateLimited { retry_at, .. }) => {
                assert_eq!(retry_at, now() + Duration::seconds(seconds), "{what}");
                let (account, _, seen) = gate.seen().pop().expect("an observation");
                assert_eq!(
                    (account.as_str(), seen.blocked_until),
                    ("5", Some(retry_at)),
                    "{what}"
                );
            }
            (Err(code), error) => assert_eq!(error.code(), code, "{what}"),
            (Ok(_), _) => panic!("{what}"),
        }
    }
}

#[tokio::test]
async fn a_retry_after_beyond_a_number_is_bounded_too() {
    let (server, github, _) = github().await;
    Mock::given(any())
        .respond_with(
            ResponseTemplate::new(429).insert_header("retry-after", "99999999999999999999"),
        )
        .mount(&server)
        .await;
    let error = github.sync(root_request()).await.expect_err("a refusal");
    let ConnectorError::RateLimited { retry_at, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(retry_at, now() + Duration::seconds(60));
}

#[tokio::test]
async fn what_a_good_answer_says_about_limits_reaches_the_gate() {
    let (server, github, gate) = github().await;
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
    let (account, _, seen) = gate.seen().pop().expect("an observation");
    assert_eq!(account, "5");
    assert_eq!((seen.limit, seen.remaining), (Some(5000), Some(4321)));
    assert_eq!(seen.reset_at, Some(now() + Duration::seconds(600)));
    assert_eq!(seen.blocked_until, None);
}

#[tokio::test]
async fn an_answer_that_is_no_json_is_transient_and_not_quoted() {
    let (server, github, _) = github().await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(200).set_body_string("<html>confidential</html>"))
        .mount(&server)
        .await;
    let error = github.sync(root_request()).await.expect_err("a refusal");
    assert_eq!(error.code(), "transient");
    assert!(!format!("{error:?}").contains("confidential"));
}

#[tokio::test]
async fn quota_beside_a_refused_token_is_not_the_accounts() {
    let (server, github, gate) = github().await;
    let answer = ResponseTemplate::new(401)
        .insert_header("x-ratelimit-limit", "60")
        .insert_header("x-ratelimit-remaining", "0")
        .insert_header("x-ratelimit-reset", "1795435800")
        .set_body_json(json!({ "message": "Bad credentials" }));
    Mock::given(any()).respond_with(answer).mount(&server).await;
    let refused = github.sync(root_request()).await;
    assert_eq!(refused.expect_err("refused").code(), "unauthorized");
    let (.., seen) = gate.seen().pop().expect("an observation");
    assert_eq!((seen.limit, seen.remaining, seen.spent), (None, None, 0));
    assert_eq!(seen.blocked_until, None);
}
