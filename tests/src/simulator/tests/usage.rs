//! What requests cost, as the statistics tell it.

use super::limits::{LIST, text};
use super::*;

#[tokio::test]
async fn statistics_tell_what_was_charged_and_why() {
    let scene = scene(StatusCode::OK, 20).await;
    let (installation, token) = scene.installed().await;
    let (first, _) = scene.ask(&token, LIST).await;
    scene.ask(&token, LIST).await;
    let unchanged = scene.conditional(&token, text(&first, "etag")).await;
    assert_eq!(unchanged.status(), StatusCode::NOT_MODIFIED);
    let renewed = scene.token(installation).await;
    scene.ask(&renewed, LIST).await;
    scene
        .ask(&renewed, "/search/issues?q=is:issue+org:team-1")
        .await;
    scene.ask(&renewed, "/rate_limit").await;
    let none = json!({"points_per_minute": 0});
    scene.control("github/settings", none).await;
    scene.ask(&renewed, LIST).await;

    let usage = scene.simulator.usage("github", TEAM);
    assert_eq!((usage.requests, usage.charged), (7, 4));
    assert_eq!((usage.not_modified, usage.refused), (1, 1));
    assert_eq!((usage.repeated, usage.recharged), (1, 1));
    let core = &usage.limits["core"];
    assert_eq!((core.used, core.quota), (3, Some(5_000)));
    let allowed = core.allowed.expect("a limit");
    assert!((allowed - usage.elapsed_seconds * 5_000.0 / 3_600.0).abs() < 0.001);
    assert_eq!(usage.limits["search"].used, 1);
    assert_eq!(usage.limits["secondary"].used, 5);

    let url = format!("{}/_sim/stats", scene.simulator.base_url());
    let stats = scene.client.get(&url).send().await.expect("an answer");
    let stats: Value = stats.json().await.expect("JSON");
    assert_eq!(stats["usage"]["github"][TEAM]["repeated"], 1);
    assert_eq!(stats["usage"]["github"]["app"]["requests"], 2, "two tokens");
    scene.client.delete(&url).send().await.expect("an answer");
    assert_eq!(scene.simulator.usage("github", TEAM).requests, 0);
}
