//! Tests of the statistics of requests and their cost.

use super::limits::{LIST, text};
use super::*;

#[tokio::test]
async fn statistics_count_charged_and_repeated_requests() {
    let fixture = fixture(StatusCode::OK, 20).await;
    let (installation, token) = fixture.install().await;
    let (first, _) = fixture.fetch(&token, LIST).await;
    fixture.fetch(&token, LIST).await;
    let unchanged = fixture
        .fetch_if_none_match(&token, text(&first, "etag"))
        .await;
    assert_eq!(unchanged.status(), StatusCode::NOT_MODIFIED);
    let renewed = fixture.token(installation).await;
    fixture.fetch(&renewed, LIST).await;
    fixture
        .fetch(&renewed, "/search/issues?q=is:issue+org:team-1")
        .await;
    fixture.fetch(&renewed, "/rate_limit").await;
    let none = json!({"points_per_minute": 0});
    fixture.control("github/settings", none).await;
    fixture.fetch(&renewed, LIST).await;

    let usage = fixture.simulator.usage("github", TEAM);
    assert_eq!((usage.requests, usage.charged), (7, 4));
    assert_eq!((usage.not_modified, usage.refused), (1, 1));
    assert_eq!((usage.repeated, usage.recharged), (1, 1));
    let core = &usage.limits["core"];
    assert_eq!((core.used, core.quota), (3, Some(5_000)));
    let allowed = core.allowed.expect("a limit");
    assert!((allowed - usage.elapsed_seconds * 5_000.0 / 3_600.0).abs() < 0.001);
    assert_eq!(usage.limits["search"].used, 1);
    assert_eq!(usage.limits["secondary"].used, 5);

    let url = format!("{}/_sim/stats", fixture.simulator.base_url());
    let stats = fixture.client.get(&url).send().await.expect("a response");
    let stats: Value = stats.json().await.expect("JSON");
    assert_eq!(stats["usage"]["github"][TEAM]["repeated"], 1);
    assert_eq!(stats["usage"]["github"]["app"]["requests"], 2, "two tokens");
    fixture
        .client
        .delete(&url)
        .send()
        .await
        .expect("a response");
    assert_eq!(fixture.simulator.usage("github", TEAM).requests, 0);
}
