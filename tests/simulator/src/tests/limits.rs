//! Tests of GitHub's limits and `ETag`s.

use super::*;

pub(super) const LIST: &str = "/repos/team-1/service-1/issues?state=all";

pub(super) fn text<'r>(response: &'r Response, name: &str) -> &'r str {
    let value = response.headers().get(name).expect("a header");
    value.to_str().expect("text")
}

impl Fixture {
    pub(super) async fn fetch_if_none_match(&self, token: &str, tag: &str) -> Response {
        let url = format!("{}{LIST}", self.env("API_BASE_URL"));
        let request = self.client.get(url).bearer_auth(token);
        let request = request.header("if-none-match", tag);
        request.send().await.expect("a response")
    }
}

#[tokio::test]
async fn etag_is_valid_for_its_token_only() {
    let fixture = fixture(StatusCode::OK, 20).await;
    let (installation, token) = fixture.install().await;
    let (first, _) = fixture.fetch(&token, LIST).await;
    let tag = text(&first, "etag");
    let again = fixture.fetch_if_none_match(&token, tag).await;
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(
        text(&again, "x-ratelimit-used"),
        "1",
        "a 304 response is not charged"
    );
    let renewed = fixture.token(installation).await;
    let other = fixture.fetch_if_none_match(&renewed, tag).await;
    assert_eq!(other.status(), StatusCode::OK);
    assert_eq!(text(&other, "x-ratelimit-used"), "2");
    let own = fixture
        .fetch_if_none_match(&renewed, text(&other, "etag"))
        .await;
    assert_eq!(own.status(), StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn not_modified_counts_against_the_secondary_limit() {
    let fixture = fixture(StatusCode::OK, 0).await;
    let (_, token) = fixture.install().await;
    let (first, _) = fixture.fetch(&token, LIST).await;
    let tag = text(&first, "etag");
    // Up to 900 points in each of two minutes, because the loop may cross a minute.
    let mut limited = None;
    for _ in 0..1_800 {
        let response = fixture.fetch_if_none_match(&token, tag).await;
        if response.status() == StatusCode::FORBIDDEN {
            limited = Some(response);
            break;
        }
        assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
    }
    let limited = limited.expect("a secondary limit");
    assert_eq!(text(&limited, "retry-after"), "60");
    assert_eq!(text(&limited, "x-ratelimit-used"), "1");
}

#[tokio::test]
async fn disabled_limits_reject_no_request() {
    let config = Config {
        enforces_limits: false,
        ..Config::default()
    };
    let simulator = start(config).await.expect("a simulator");
    let settings = simulator.providers.github.settings().clone();
    assert_eq!(settings.points_per_minute, None);
    assert_eq!(settings.max_concurrent, None);
    assert!(settings.rate_limit > 1_000_000 && settings.search_limit > 1_000_000);
    assert!(!simulator.providers.slack.settings().tiers);
    let jira = simulator.providers.jira.settings();
    assert_eq!(jira.points_per_hour.max(jira.site_points_per_hour), None);
    assert_eq!(jira.requests_per_second, None);
}
