//! Tests of the search for issues and pull requests.

use super::limits::{LIST, text};
use super::*;

impl Fixture {
    async fn search(&self, token: &str, query: &str) -> Value {
        let path = format!("/search/issues?q={query}");
        let (response, body) = self.fetch(token, &path).await;
        assert_eq!(response.status(), StatusCode::OK, "{query}: {body}");
        body
    }

    async fn search_error(&self, token: &str, query: &str) -> String {
        let path = format!("/search/issues?q={query}");
        let (response, body) = self.fetch(token, &path).await;
        assert_eq!(
            response.status(),
            StatusCode::UNPROCESSABLE_ENTITY,
            "{query}"
        );
        body.to_string()
    }
}

fn times(result: &Value) -> Vec<&str> {
    let items = result["items"].as_array().expect("a list");
    let times = items.iter().map(|item| item["updated_at"].as_str());
    times.map(|time| time.expect("a time")).collect()
}

#[tokio::test]
async fn search_finds_updates_since_a_time() {
    let fixture = fixture(StatusCode::OK, 300).await;
    let (_, token) = fixture.install().await;
    let all = fixture
        .search(&token, "org:team-1+is:issue&sort=updated&per_page=100")
        .await;
    let all = times(&all);
    assert!(all.len() > 10 && all.is_sorted_by(|left, right| left >= right));
    let since = all[4];
    let query = format!("org:team-1+is:issue+updated:>={since}&sort=updated&order=asc");
    let newest = fixture.search(&token, &query).await;
    assert_eq!(newest["total_count"], 5);
    assert_eq!(newest["incomplete_results"], false);
    assert!(times(&newest).is_sorted() && times(&newest)[0] == since);
    assert_eq!(newest["items"][0]["score"], 1.0);

    let pulls = fixture
        .search(&token, "repo:team-1/service-1+is:pull-request")
        .await;
    let rows = pulls["items"].as_array().expect("a list");
    assert!(rows.iter().all(|row| row["pull_request"].is_object()));
    let second = fixture.search(&token, "is:issue&per_page=2&page=2").await;
    assert_eq!(times(&second).len(), 2);
}

#[tokio::test]
async fn search_rejects_invalid_queries() {
    let fixture = fixture(StatusCode::OK, 0).await;
    let (_, token) = fixture.install().await;
    let other = json!({"login": "others", "history": 20});
    fixture.control("github/accounts", other).await;
    for (query, reason) in [
        ("org:team-1", "is:issue"),
        ("", "missing"),
        ("is:issue+updated:yesterday", "invalid"),
        ("is:issue+org:others", "do not have permission"),
        ("is:issue+repo:team-1/absent", "do not exist"),
        ("is:issue&page=11&per_page=100", "first 1000"),
    ] {
        let error = fixture.search_error(&token, query).await;
        assert!(error.contains(reason), "{query}: {error}");
    }
    let everywhere = fixture.search(&token, "is:issue").await;
    assert_eq!(
        everywhere["total_count"], 0,
        "repositories of other accounts are invisible"
    );
}

#[tokio::test]
async fn search_lags_and_times_out_by_setting() {
    let fixture = fixture(StatusCode::OK, 0).await;
    let (_, token) = fixture.install().await;
    fixture.act("issues.opened", json!({})).await;
    let lag = json!({"search_lag_seconds": 60});
    fixture.control("github/settings", lag).await;
    let query = "is:issue+org:team-1";
    assert_eq!(fixture.search(&token, query).await["total_count"], 0);
    fixture
        .control("clock", json!({"advance_seconds": 61}))
        .await;
    assert_eq!(fixture.search(&token, query).await["total_count"], 1);
    let late = json!({"searches_time_out": true});
    fixture.control("github/settings", late).await;
    let result = fixture.search(&token, query).await;
    assert_eq!(
        (&result["total_count"], &result["incomplete_results"]),
        (&json!(0), &json!(true))
    );
}

#[tokio::test]
async fn searches_have_a_separate_quota() {
    let fixture = fixture(StatusCode::OK, 0).await;
    let (_, token) = fixture.install().await;
    let search = "/search/issues?q=is:issue+org:team-1";
    for used in 1..=30 {
        let (response, _) = fixture.fetch(&token, search).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(text(&response, "x-ratelimit-resource"), "search");
        assert_eq!(text(&response, "x-ratelimit-limit"), "30");
        assert_eq!(text(&response, "x-ratelimit-used"), used.to_string());
    }
    let (limited, _) = fixture.fetch(&token, search).await;
    assert_eq!(limited.status(), StatusCode::FORBIDDEN);
    assert_eq!(text(&limited, "x-ratelimit-remaining"), "0");
    let (core, _) = fixture.fetch(&token, LIST).await;
    assert_eq!(text(&core, "x-ratelimit-used"), "1");
    fixture
        .control("clock", json!({"advance_seconds": 60}))
        .await;
    let (response, _) = fixture.fetch(&token, search).await;
    assert_eq!(response.status(), StatusCode::OK);
}
