//! Tests of stars.

use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};
use wiremock::matchers::{any, header, query_param};
use wiremock::{Mock, ResponseTemplate};

use super::server::{List, unchanged};
use super::{backfill_from, page, run, stamp, user};
use crate::connectors::github::tests::{github, html, now};
use crate::connectors::{Connector, SyncRequest};

const STARS: &str = "/repos/octo-org/hello/stargazers";

fn ago(minutes: i64) -> DateTime<Utc> {
    now() - Duration::minutes(minutes)
}

fn star(id: u64, at: DateTime<Utc>) -> Value {
    json!({ "starred_at": stamp(at), "user": user(id) })
}

fn id_of(key: &str) -> u64 {
    key.split(':')
        .nth(3)
        .expect("an id")
        .parse()
        .expect("a number")
}

#[tokio::test]
async fn stars_are_read_backwards_to_floor() {
    let (server, github, _) = github().await;
    // 150 before the lower bound, 250 since.
    let rows: Vec<Value> = (1..=400)
        .map(|id| {
            star(
                id,
                backfill_from() + Duration::minutes(id.cast_signed() - 151),
            )
        })
        .collect();
    let list = List::at(&server, STARS, unchanged, rows).await;
    // During the walk, stars are removed.
    list.on_each_response(|count, rows| {
        if count < 6 {
            rows.remove(10);
            rows.remove(160);
        }
    });
    let first = run(&github, "stargazers", None, now()).await;
    let mut ids: Vec<u64> = first.keys().iter().map(|key| id_of(key)).collect();
    ids.sort_unstable();
    assert!(ids.first().is_some_and(|first| *first >= 151));
    for id in 180..=400 {
        assert!(ids.contains(&id), "{id}");
    }
}

#[tokio::test]
async fn new_stars_are_found_on_last_page() {
    let (server, github, _) = github().await;
    let rows: Vec<Value> = (1..=95_u64)
        .map(|id| star(id, ago(3_000 - id.cast_signed())))
        .collect();
    let list = List::at(&server, STARS, unchanged, rows).await;
    let first = run(&github, "stargazers", None, now()).await;
    assert_eq!(first.keys().len(), 95);

    let unchanged_run = run(&github, "stargazers", Some(first.cursor), now()).await;
    assert!(unchanged_run.signals.is_empty());
    assert_eq!(list.not_modified(), 2);

    // The last page fills up, and another begins.
    list.change(|rows| rows.extend((96..=230).map(|id| star(id, ago(1_000 - id.cast_signed())))));
    let second = run(&github, "stargazers", Some(unchanged_run.cursor), now()).await;
    let mut ids: Vec<u64> = second.keys().iter().map(|key| id_of(key)).collect();
    ids.sort_unstable();
    for id in 96..=230 {
        assert!(ids.contains(&id), "{id}");
    }

    // Many stars are removed, so that the previous last page is beyond the end.
    list.change(|rows| {
        rows.drain(..150);
        rows.push(star(231, ago(1)));
    });
    let third = run(&github, "stargazers", Some(second.cursor), now()).await;
    assert!(
        third.keys().iter().any(|key| id_of(key) == 231),
        "{:?}",
        third.keys()
    );
}

#[tokio::test]
async fn full_last_page_is_read_again() {
    let (server, github, _) = github().await;
    let rows: Vec<Value> = (1..=100_u64)
        .map(|id| star(id, ago(3_000 - id.cast_signed())))
        .collect();
    let list = List::at(&server, STARS, unchanged, rows).await;
    let first = run(&github, "stargazers", None, now()).await;
    // The body of the first page does not change.
    list.change(|rows| rows.push(star(101, ago(1))));
    let second = run(&github, "stargazers", Some(first.cursor), now()).await;
    assert!(second.keys().iter().any(|key| id_of(key) == 101));
}

#[tokio::test]
async fn stars_are_requested_with_times() {
    let (server, github, _) = github().await;
    Mock::given(any())
        .and(header("accept", "application/vnd.github.star+json"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!([])))
        .expect(1)
        .mount(&server)
        .await;
    let page = page(&github, "stargazers", None, now())
        .await
        .expect("a page");
    assert!(page.signals.is_empty() && !page.has_more);
}

#[tokio::test]
async fn smaller_pages_skip_no_star() {
    let (server, github, _) = github().await;
    let rows: Vec<Value> = (1..=230_u64)
        .map(|id| star(id, ago(3_000 - id.cast_signed())))
        .collect();
    List::at(&server, STARS, unchanged, rows).await;
    // The size changes between the pages of a walk, and between runs.
    let mut cursor = None;
    let mut ids = std::collections::BTreeSet::new();
    for failures in [2, 3, 0, 4, 2, 0, 3, 2, 0, 4, 0, 0, 0] {
        let request = SyncRequest {
            failures,
            ..super::request("stargazers", cursor.clone(), now())
        };
        let page = github.sync(request).await.expect("a page");
        ids.extend(page.signals.iter().map(|signal| id_of(&signal.dedupe_key)));
        cursor = Some(page.cursor);
        if !page.has_more && ids.len() == 230 {
            return;
        }
    }
    panic!("{} of 230 stars", ids.len());
}

#[tokio::test]
async fn stars_are_requested_in_smaller_pages_after_failures() {
    let (server, github, _) = github().await;
    Mock::given(query_param("per_page", "100"))
        .respond_with(html(502))
        .mount(&server)
        .await;
    let row = json!([star(1, ago(5))]);
    Mock::given(query_param("per_page", "50"))
        .respond_with(ResponseTemplate::new(200).set_body_json(row))
        .mount(&server)
        .await;
    for (failures, is_read) in [(0, false), (1, false), (2, true)] {
        let request = SyncRequest {
            failures,
            ..super::request("stargazers", None, now())
        };
        assert_eq!(github.sync(request).await.is_ok(), is_read, "{failures}");
    }
}
