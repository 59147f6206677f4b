//! Searches for issues and pull requests, as GitHub's clients send them.

use super::limits::{LIST, text};
use super::*;

impl Scene {
    async fn found(&self, token: &str, query: &str) -> Value {
        let path = format!("/search/issues?q={query}");
        let (answer, body) = self.ask(token, &path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{query}: {body}");
        body
    }

    async fn refused(&self, token: &str, query: &str) -> String {
        let path = format!("/search/issues?q={query}");
        let (answer, body) = self.ask(token, &path).await;
        assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY, "{query}");
        body.to_string()
    }
}

fn times(found: &Value) -> Vec<&str> {
    let items = found["items"].as_array().expect("a list");
    let times = items.iter().map(|item| item["updated_at"].as_str());
    times.map(|time| time.expect("a time")).collect()
}

#[tokio::test]
async fn search_tells_what_was_updated_since() {
    let scene = scene(StatusCode::OK, 300).await;
    let (_, token) = scene.installed().await;
    let all = scene
        .found(&token, "org:team-1+is:issue&sort=updated&per_page=100")
        .await;
    let all = times(&all);
    assert!(all.len() > 10 && all.is_sorted_by(|one, next| one >= next));
    let since = all[4];
    let query = format!("org:team-1+is:issue+updated:>={since}&sort=updated&order=asc");
    let newest = scene.found(&token, &query).await;
    assert_eq!(newest["total_count"], 5);
    assert_eq!(newest["incomplete_results"], false);
    assert!(times(&newest).is_sorted() && times(&newest)[0] == since);
    assert_eq!(newest["items"][0]["score"], 1.0);

    let pulls = scene
        .found(&token, "repo:team-1/service-1+is:pull-request")
        .await;
    let rows = pulls["items"].as_array().expect("a list");
    assert!(rows.iter().all(|row| row["pull_request"].is_object()));
    let second = scene.found(&token, "is:issue&per_page=2&page=2").await;
    assert_eq!(times(&second).len(), 2);
}

#[tokio::test]
async fn search_refuses_what_github_refuses() {
    let scene = scene(StatusCode::OK, 0).await;
    let (_, token) = scene.installed().await;
    let other = json!({"login": "others", "history": 20});
    scene.control("github/accounts", other).await;
    for (query, why) in [
        ("org:team-1", "is:issue"),
        ("", "missing"),
        ("is:issue+updated:yesterday", "invalid"),
        ("is:issue+org:others", "do not have permission"),
        ("is:issue+repo:team-1/absent", "do not exist"),
        ("is:issue&page=11&per_page=100", "first 1000"),
    ] {
        let refusal = scene.refused(&token, query).await;
        assert!(refusal.contains(why), "{query}: {refusal}");
    }
    let everywhere = scene.found(&token, "is:issue").await;
    assert_eq!(
        everywhere["total_count"], 0,
        "others' repositories are not seen"
    );
}

#[tokio::test]
async fn search_index_lags_and_times_out_on_demand() {
    let scene = scene(StatusCode::OK, 0).await;
    let (_, token) = scene.installed().await;
    scene.act("issues.opened", json!({})).await;
    let lag = json!({"search_lag_seconds": 60});
    scene.control("github/settings", lag).await;
    let query = "is:issue+org:team-1";
    assert_eq!(scene.found(&token, query).await["total_count"], 0);
    scene.control("clock", json!({"advance_seconds": 61})).await;
    assert_eq!(scene.found(&token, query).await["total_count"], 1);
    let late = json!({"searches_time_out": true});
    scene.control("github/settings", late).await;
    let found = scene.found(&token, query).await;
    assert_eq!(
        (&found["total_count"], &found["incomplete_results"]),
        (&json!(0), &json!(true))
    );
}

#[tokio::test]
async fn searches_have_a_quota_of_their_own() {
    let scene = scene(StatusCode::OK, 0).await;
    let (_, token) = scene.installed().await;
    let search = "/search/issues?q=is:issue+org:team-1";
    for used in 1..=30 {
        let (answer, _) = scene.ask(&token, search).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(text(&answer, "x-ratelimit-resource"), "search");
        assert_eq!(text(&answer, "x-ratelimit-limit"), "30");
        assert_eq!(text(&answer, "x-ratelimit-used"), used.to_string());
    }
    let (refused, _) = scene.ask(&token, search).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert_eq!(text(&refused, "x-ratelimit-remaining"), "0");
    let (core, _) = scene.ask(&token, LIST).await;
    assert_eq!(text(&core, "x-ratelimit-used"), "1");
    scene.control("clock", json!({"advance_seconds": 60})).await;
    let (answer, _) = scene.ask(&token, search).await;
    assert_eq!(answer.status(), StatusCode::OK);
}
