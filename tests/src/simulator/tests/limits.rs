//! GitHub's limits and tags, as its clients meet them.

use super::*;

pub(super) const LIST: &str = "/repos/team-1/service-1/issues?state=all";

pub(super) fn text<'r>(response: &'r Response, name: &str) -> &'r str {
    let value = response.headers().get(name).expect("a header");
    value.to_str().expect("text")
}

impl Scene {
    pub(super) async fn conditional(&self, token: &str, tag: &str) -> Response {
        let url = format!("{}{LIST}", self.env("API_BASE_URL"));
        let request = self.client.get(url).bearer_auth(token);
        let request = request.header("if-none-match", tag);
        request.send().await.expect("an answer")
    }
}

#[tokio::test]
async fn tag_is_good_for_its_token_only() {
    let scene = scene(StatusCode::OK, 20).await;
    let (installation, token) = scene.installed().await;
    let (first, _) = scene.ask(&token, LIST).await;
    let tag = text(&first, "etag");
    let again = scene.conditional(&token, tag).await;
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(text(&again, "x-ratelimit-used"), "1", "it is not charged");
    let renewed = scene.token(installation).await;
    let other = scene.conditional(&renewed, tag).await;
    assert_eq!(other.status(), StatusCode::OK);
    assert_eq!(text(&other, "x-ratelimit-used"), "2");
    let own = scene.conditional(&renewed, text(&other, "etag")).await;
    assert_eq!(own.status(), StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn not_modified_counts_to_the_secondary_limit() {
    let scene = scene(StatusCode::OK, 0).await;
    let (_, token) = scene.installed().await;
    let (first, _) = scene.ask(&token, LIST).await;
    let tag = text(&first, "etag");
    // Nine hundred points of one minute, though another may begin on the way.
    let mut refused = None;
    for _ in 0..1_800 {
        let answer = scene.conditional(&token, tag).await;
        if answer.status() == StatusCode::FORBIDDEN {
            refused = Some(answer);
            break;
        }
        assert_eq!(answer.status(), StatusCode::NOT_MODIFIED);
    }
    let refused = refused.expect("a secondary limit");
    assert_eq!(text(&refused, "retry-after"), "60");
    assert_eq!(text(&refused, "x-ratelimit-used"), "1");
}

#[tokio::test]
async fn nothing_is_refused_without_limits() {
    let config = Config {
        enforces_limits: false,
        ..Config::default()
    };
    let simulator = start(config).await.expect("a simulator");
    let settings = simulator.github.settings().clone();
    assert_eq!(settings.points_per_minute, None);
    assert_eq!(settings.max_concurrent, None);
    assert!(settings.rate_limit > 1_000_000 && settings.search_limit > 1_000_000);
    assert!(!simulator.slack.settings().tiers);
    let jira = simulator.jira.settings();
    assert_eq!(jira.points_per_hour.max(jira.site_points_per_hour), None);
    assert_eq!(jira.requests_per_second, None);
}
