//! Tests of issues, comments and releases, and of failing pages.

use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};
use wiremock::matchers::{any, path};
use wiremock::{Mock, ResponseTemplate};

use super::server::{List, latest_first, since};
use super::{backfill_from, page, request, run, stamp, user};
use crate::connectors::github::tests::{github, now};
use crate::connectors::{Connector, SyncRequest};
use crate::model::SignalKind;

const ISSUES: &str = "/repos/octo-org/hello/issues";

fn issue(id: u64, updated_at: DateTime<Utc>) -> Value {
    json!({
        "id": id, "number": id, "title": format!("Issue {id}"), "state": "open",
        "html_url": format!("https://github.com/octo-org/hello/issues/{id}"),
        "user": user(1), "labels": [], "created_at": stamp(updated_at),
        "updated_at": stamp(updated_at), "closed_at": null,
    })
}

fn created(ids: impl IntoIterator<Item = u64>) -> Vec<String> {
    let mut keys: Vec<String> = ids
        .into_iter()
        .map(|id| format!("github:issue:{id}:created"))
        .collect();
    keys.sort_unstable();
    keys
}

fn ago(minutes: i64) -> DateTime<Utc> {
    now() - Duration::minutes(minutes)
}

#[tokio::test]
async fn rows_moving_during_walk_are_not_skipped() {
    let (server, github, _) = github().await;
    let rows = (1..=450_u64).map(|id| issue(id, ago(10_000) + Duration::minutes(id.cast_signed())));
    let list = List::at(&server, ISSUES, since, rows.collect()).await;
    // After every response, rows move from the front to the end, so page numbers would skip rows.
    list.on_each_response(|count, rows| {
        for row in rows.iter_mut().skip(count * 7).take(7) {
            row["updated_at"] = json!(stamp(ago(10)));
        }
    });
    let first = run(&github, "issues", None, now()).await;
    list.on_each_response(|_, _| {});
    // Rows that moved after the newest page was read belong to the next run.
    let second = run(&github, "issues", Some(first.cursor.clone()), now()).await;
    let mut keys = [first.keys(), second.keys()].concat();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys, created(1..=450));
}

#[tokio::test]
async fn full_page_with_same_time_is_read_completely() {
    let (server, github, _) = github().await;
    let mut rows: Vec<Value> = (1..=350_u64).map(|id| issue(id, ago(60))).collect();
    rows.extend((351..=400).map(|id| issue(id, ago(50))));
    List::at(&server, ISSUES, since, rows).await;
    assert_eq!(
        run(&github, "issues", None, now()).await.keys(),
        created(1..=400)
    );
}

#[tokio::test]
async fn newest_page_is_read_first() {
    let (server, github, _) = github().await;
    let rows = (1..=250_u64).map(|id| issue(id, ago(10_000) + Duration::minutes(id.cast_signed())));
    let list = List::at(&server, ISSUES, since, rows.collect()).await;
    let first = page(&github, "issues", None, now()).await.expect("a page");
    let keys: Vec<String> = first
        .signals
        .iter()
        .map(|signal| signal.dedupe_key.clone())
        .collect();
    assert!(keys.contains(&created([250])[0]) && keys.len() == 100);
    let rest = run(&github, "issues", Some(first.cursor), now()).await;
    let mut all = [keys, rest.keys()].concat();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all, created(1..=250));
    assert_eq!(
        list.responses(),
        1 + 2 * 2,
        "the other two pages, each read twice by this test"
    );
}

#[tokio::test]
async fn changed_page_costs_one_request() {
    let (server, github, _) = github().await;
    let list = List::at(&server, ISSUES, since, vec![issue(1, ago(20))]).await;
    let mut cursor = None;
    for id in 2..=5_u64 {
        let run = run(&github, "issues", cursor, now()).await;
        let unchanged = super::run(&github, "issues", Some(run.cursor), now()).await;
        assert!(unchanged.signals.is_empty(), "nothing changed");
        list.change(|rows| rows.push(issue(id, ago(10))));
        cursor = Some(unchanged.cursor);
    }
    assert_eq!(
        list.responses() - list.not_modified(),
        4 * 2,
        "one full response per change, read twice by this test"
    );
}

#[tokio::test]
async fn unchanged_list_costs_no_quota() {
    let (server, github, _) = github().await;
    let list = List::at(&server, ISSUES, since, vec![issue(1, ago(20))]).await;
    let first = run(&github, "issues", None, now()).await;
    let second = run(&github, "issues", Some(first.cursor), now()).await;
    let before = list.not_modified();
    let third = run(&github, "issues", Some(second.cursor.clone()), now()).await;
    assert!(list.not_modified() > before);
    assert!(third.signals.is_empty());
    assert_eq!(third.cursor, second.cursor);
    // A later row is found.
    list.change(|rows| rows.push(issue(2, ago(2))));
    let fourth = run(&github, "issues", Some(third.cursor), now()).await;
    assert!(fourth.keys().contains(&created([2])[0]));
}

#[tokio::test]
async fn late_row_is_found_within_overlap() {
    let (server, github, _) = github().await;
    let list = List::at(&server, ISSUES, since, vec![issue(1, ago(20))]).await;
    let first = run(&github, "issues", None, now()).await;
    list.change(|rows| rows.push(issue(2, ago(20) - Duration::seconds(50))));
    let second = run(&github, "issues", Some(first.cursor), now()).await;
    assert!(second.keys().contains(&created([2])[0]));
}

#[tokio::test]
async fn facts_before_floor_are_skipped() {
    let (server, github, _) = github().await;
    let mut old = issue(1, ago(30));
    old["created_at"] = json!(stamp(backfill_from() - Duration::days(1)));
    old["state"] = json!("closed");
    old["closed_at"] = json!(stamp(ago(30)));
    old["closed_by"] = user(9);
    let mut pull = issue(2, ago(30));
    pull["pull_request"] = json!({ "url": "https://api.github.com/pulls/2" });
    List::at(&server, ISSUES, since, vec![old, pull]).await;
    let run = run(&github, "issues", None, now()).await;
    assert_eq!(
        run.keys(),
        [format!("github:issue:1:closed:{}", stamp(ago(30)))]
    );
    assert_eq!(run.signals[0].actor.id.as_deref(), Some("9"));
}

#[tokio::test]
async fn resync_reads_recent_updates_and_keeps_floor() {
    let (server, github, _) = github().await;
    // A row that was updated recently has a fact from before the last read.
    let mut closed = issue(1, ago(30));
    closed["created_at"] = json!(stamp(backfill_from() + Duration::days(1)));
    List::at(&server, ISSUES, since, vec![closed]).await;
    let resync_from = now() - Duration::days(7);
    let restart = SyncRequest {
        resync_from: Some(resync_from),
        ..request("issues", None, now())
    };
    let page = github.sync(restart).await.expect("a page");
    assert_eq!(page.signals[0].dedupe_key, "github:issue:1:created");
    assert_eq!(page.cursor["floor"], json!(backfill_from()));
    let requests = server.received_requests().await.expect("requests");
    let from = stamp(resync_from - Duration::seconds(60));
    let mut query = requests[0].url.query_pairs();
    assert!(query.any(|(name, value)| name == "since" && value == from));
}

#[tokio::test]
async fn comment_kind_follows_thread() {
    let (server, github, _) = github().await;
    let comment = |id: u64, page: &str| {
        json!({
            "id": id, "body": "Hello", "user": user(1),
            "html_url": format!("https://github.com/octo-org/hello/{page}"),
            "issue_url": "https://api.github.com/repos/octo-org/hello/issues/43",
            "created_at": stamp(ago(5)), "updated_at": stamp(ago(5)),
        })
    };
    let rows = vec![
        comment(1, "issues/43#issuecomment-1"),
        comment(2, "pull/43#issuecomment-2"),
    ];
    List::at(
        &server,
        "/repos/octo-org/hello/issues/comments",
        since,
        rows,
    )
    .await;
    let run = run(&github, "issue_comments", None, now()).await;
    let keys: Vec<_> = run
        .signals
        .iter()
        .map(|signal| {
            (
                signal.kind,
                signal.dedupe_key.as_str(),
                &signal.normalized["number"],
            )
        })
        .collect();
    assert_eq!(
        keys,
        [
            (
                SignalKind::PrCommented,
                "github:comment:2:created",
                &json!(43)
            ),
            (
                SignalKind::IssueCommented,
                "github:comment:1:created",
                &json!(43)
            ),
        ]
    );
}

#[tokio::test]
async fn review_comments_have_separate_list() {
    let (server, github, _) = github().await;
    let rows = vec![json!({
        "id": 5, "body": "Here", "path": "a.rs", "user": user(1),
        "html_url": "https://github.com/octo-org/hello/pull/43#discussion_r5",
        "pull_request_url": "https://api.github.com/repos/octo-org/hello/pulls/43",
        "created_at": stamp(ago(5)), "updated_at": stamp(ago(5)),
    })];
    List::at(&server, "/repos/octo-org/hello/pulls/comments", since, rows).await;
    let run = run(&github, "review_comments", None, now()).await;
    assert_eq!(run.keys(), ["github:review_comment:5:created"]);
    assert_eq!(run.signals[0].normalized["path"], json!("a.rs"));
}

fn release(id: u64, created_at: DateTime<Utc>, published_at: Option<DateTime<Utc>>) -> Value {
    json!({
        "id": id, "tag_name": format!("v{id}"), "name": null, "prerelease": false,
        "draft": published_at.is_none(), "author": user(1), "created_at": stamp(created_at),
        "published_at": published_at.map(stamp),
        "html_url": format!("https://github.com/octo-org/hello/releases/tag/v{id}"),
    })
}

#[tokio::test]
async fn published_release_is_found_at_any_position() {
    let (server, github, _) = github().await;
    let mut rows: Vec<Value> = (1..=230)
        .map(|id: u64| {
            let at = backfill_from() + Duration::hours(id.cast_signed());
            release(id, at, Some(at))
        })
        .collect();
    rows.push(release(
        900,
        backfill_from() - Duration::days(5),
        Some(backfill_from() - Duration::days(5)),
    ));
    rows.push(release(901, backfill_from() + Duration::minutes(1), None));
    let list = List::at(
        &server,
        "/repos/octo-org/hello/releases",
        latest_first,
        rows,
    )
    .await;
    let first = run(&github, "releases", None, ago(60)).await;
    assert_eq!(
        first.keys().len(),
        230,
        "the draft and the old release are skipped"
    );

    let responses = list.responses();
    let again = run(&github, "releases", Some(first.cursor), ago(50)).await;
    assert_eq!(
        list.not_modified(),
        2,
        "one unchanged page, read twice by this test"
    );
    assert_eq!(list.responses() - responses, 2);

    // A release is added at the front, and a draft on the last page is published.
    list.change(|rows| {
        rows.push(release(902, ago(40), Some(ago(40))));
        rows.retain(|row| row["id"] != json!(901));
        rows.push(release(
            901,
            backfill_from() + Duration::minutes(1),
            Some(ago(40)),
        ));
    });
    let next = run(&github, "releases", Some(again.cursor), ago(30)).await;
    assert!(
        next.keys()
            .contains(&"github:release:902:published".to_owned())
    );
    let tomorrow = now() + Duration::hours(24);
    let whole = run(&github, "releases", Some(next.cursor), tomorrow).await;
    assert!(
        whole
            .keys()
            .contains(&"github:release:901:published".to_owned())
    );
}

#[tokio::test]
async fn inaccessible_repository_is_permission_error() {
    for status in [403, 404, 451] {
        let (server, github, _) = github().await;
        Mock::given(any())
            .respond_with(ResponseTemplate::new(status))
            .mount(&server)
            .await;
        let error = page(&github, "issues", None, now())
            .await
            .expect_err("an error");
        assert_eq!(error.code(), "permission", "{status}");
    }
}

#[tokio::test]
async fn redirect_of_renamed_repository_is_followed() {
    let (server, github, _) = github().await;
    let target = format!(
        "{}/api/v3/repositories/1296269/issues?moved=1",
        server.uri()
    );
    Mock::given(path("/api/v3/repos/octo-org/hello/issues"))
        .respond_with(ResponseTemplate::new(301).insert_header("location", target.as_str()))
        .mount(&server)
        .await;
    Mock::given(path("/api/v3/repositories/1296269/issues"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!([issue(1, ago(5))])))
        .mount(&server)
        .await;
    let page = page(&github, "issues", None, now()).await.expect("a page");
    assert_eq!(page.signals.len(), 1);
    assert_eq!(page.signals[0].context.id, "1296269");
}

#[tokio::test]
async fn invalid_cursor_is_expired() {
    let (server, github, _) = github().await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(422))
        .mount(&server)
        .await;
    let at = stamp(now());
    let walk = |next: &str| {
        json!({
            "floor": at, "high": at,
            "walk": { "since": at, "next": next, "to": at, "high": at },
        })
    };
    let here = format!("{}/api/v3/repositories/1/issues?page=9", server.uri());
    for cursor in [
        json!("text"),
        json!({ "page": 3 }),
        walk("https://elsewhere.example/"),
        walk("?"),
        walk(&here),
    ] {
        let error = page(&github, "issues", Some(cursor.clone()), now())
            .await
            .expect_err("an expired cursor");
        assert_eq!(error.code(), "cursor_expired", "{cursor}");
    }
    let error = page(&github, "issues", None, now())
        .await
        .expect_err("an error");
    assert_eq!(error.code(), "permanent", "the first page has no cursor");
}

#[tokio::test]
async fn unknown_stream_is_permanent() {
    let (_server, github, _) = github().await;
    let error = page(&github, "unknown", None, now())
        .await
        .expect_err("an error");
    assert_eq!(error.code(), "permanent");
}
