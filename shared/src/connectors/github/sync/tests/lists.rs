//! Lists with `since`: issues and comments. Releases. Refusals of a page.

use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};
use wiremock::matchers::{any, path};
use wiremock::{Mock, ResponseTemplate};

use super::server::{List, latest_first, since};
use super::{horizon, page, run, stamp, user};
use crate::connectors::github::tests::{github, now};
use crate::signals::SignalKind;

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
async fn rows_that_move_while_the_list_is_read_hide_none() {
    let (server, github, _) = github().await;
    let rows = (1..=450_u64).map(|id| issue(id, ago(10_000) + Duration::minutes(id.cast_signed())));
    let list = List::at(&server, ISSUES, since, rows.collect()).await;
    // After every answer, rows from the front move to the end: page numbers would skip as many.
    list.meanwhile(|answer, rows| {
        for row in rows.iter_mut().skip(answer * 7).take(7) {
            row["updated_at"] = json!(stamp(ago(10)));
        }
    });
    let first = run(&github, "issues", None, now()).await;
    list.meanwhile(|_, _| {});
    // What moved behind the newest page while that was known already belongs to the next run.
    let second = run(&github, "issues", Some(first.cursor.clone()), now()).await;
    let mut told = [first.keys(), second.keys()].concat();
    told.sort_unstable();
    told.dedup();
    assert_eq!(told, created(1..=450));
}

#[tokio::test]
async fn a_moment_with_more_rows_than_a_page_is_read_whole() {
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
async fn newest_page_is_told_first_and_the_rest_follows() {
    let (server, github, _) = github().await;
    let rows = (1..=250_u64).map(|id| issue(id, ago(10_000) + Duration::minutes(id.cast_signed())));
    let list = List::at(&server, ISSUES, since, rows.collect()).await;
    let first = page(&github, "issues", None, now()).await.expect("a page");
    let told: Vec<String> = first
        .signals
        .iter()
        .map(|signal| signal.dedupe_key.clone())
        .collect();
    assert!(told.contains(&created([250])[0]) && told.len() == 100);
    let rest = run(&github, "issues", Some(first.cursor), now()).await;
    let mut all = [told, rest.keys()].concat();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all, created(1..=250));
    assert_eq!(
        list.answers(),
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
        let calm = super::run(&github, "issues", Some(run.cursor), now()).await;
        assert!(calm.signals.is_empty(), "the page that was read is known");
        list.change(|rows| rows.push(issue(id, ago(10))));
        cursor = Some(calm.cursor);
    }
    assert_eq!(
        list.answers() - list.not_modified(),
        4 * 2,
        "one full answer per change, read twice by this test"
    );
}

#[tokio::test]
async fn a_poll_that_finds_nothing_new_costs_nothing_and_tells_nothing() {
    let (server, github, _) = github().await;
    let list = List::at(&server, ISSUES, since, vec![issue(1, ago(20))]).await;
    let first = run(&github, "issues", None, now()).await;
    let second = run(&github, "issues", Some(first.cursor), now()).await;
    let asked = list.not_modified();
    let third = run(&github, "issues", Some(second.cursor.clone()), now()).await;
    assert!(list.not_modified() > asked);
    assert!(third.signals.is_empty());
    assert_eq!(third.cursor, second.cursor);
    // And what comes after it is seen.
    list.change(|rows| rows.push(issue(2, ago(2))));
    let fourth = run(&github, "issues", Some(third.cursor), now()).await;
    assert!(fourth.keys().contains(&created([2])[0]));
}

#[tokio::test]
async fn a_row_that_appears_late_is_found_within_the_overlap() {
    let (server, github, _) = github().await;
    let list = List::at(&server, ISSUES, since, vec![issue(1, ago(20))]).await;
    let first = run(&github, "issues", None, now()).await;
    list.change(|rows| rows.push(issue(2, ago(20) - Duration::seconds(50))));
    let second = run(&github, "issues", Some(first.cursor), now()).await;
    assert!(second.keys().contains(&created([2])[0]));
}

#[tokio::test]
async fn an_issue_tells_only_what_happened_since_the_horizon() {
    let (server, github, _) = github().await;
    let mut old = issue(1, ago(30));
    old["created_at"] = json!(stamp(horizon() - Duration::days(1)));
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
async fn comments_know_what_they_are_on() {
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
    let told: Vec<_> = run
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
        told,
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
async fn review_comments_are_read_from_their_own_list() {
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
async fn a_release_is_told_when_it_is_published_wherever_it_stands() {
    let (server, github, _) = github().await;
    let mut rows: Vec<Value> = (1..=230)
        .map(|id: u64| {
            let at = horizon() + Duration::hours(id.cast_signed());
            release(id, at, Some(at))
        })
        .collect();
    rows.push(release(
        900,
        horizon() - Duration::days(5),
        Some(horizon() - Duration::days(5)),
    ));
    rows.push(release(901, horizon() + Duration::minutes(1), None));
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
        "the draft and what is too old are not told"
    );

    let answers = list.answers();
    let again = run(&github, "releases", Some(first.cursor), ago(50)).await;
    assert_eq!(
        list.not_modified(),
        2,
        "one page, read twice by this test, is not new"
    );
    assert_eq!(list.answers() - answers, 2);

    // One more at the front, and a draft on the last page is published.
    list.change(|rows| {
        rows.push(release(902, ago(40), Some(ago(40))));
        rows.retain(|row| row["id"] != json!(901));
        rows.push(release(
            901,
            horizon() + Duration::minutes(1),
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
async fn a_repository_that_is_gone_or_closed_is_no_fault_of_the_connection() {
    for status in [403, 404, 451] {
        let (server, github, _) = github().await;
        Mock::given(any())
            .respond_with(ResponseTemplate::new(status))
            .mount(&server)
            .await;
        let error = page(&github, "issues", None, now())
            .await
            .expect_err("a refusal");
        assert_eq!(error.code(), "permission", "{status}");
    }
}

#[tokio::test]
async fn an_empty_repository_and_a_list_that_is_switched_off_are_empty_pages() {
    for status in [409, 410] {
        let (server, github, _) = github().await;
        Mock::given(any())
            .respond_with(ResponseTemplate::new(status))
            .mount(&server)
            .await;
        let page = page(&github, "pulls", None, now()).await.expect("a page");
        assert!(page.signals.is_empty() && !page.more, "{status}");
        assert_eq!(page.cursor, Value::Null, "{status}");
    }
}

#[tokio::test]
async fn a_renamed_repository_is_followed_to_its_new_name() {
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
async fn a_cursor_that_means_nothing_any_more_starts_the_stream_over() {
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
        json!("what"),
        json!({ "page": 3 }),
        walk("https://elsewhere.example/"),
        walk("?"),
        walk(&here),
    ] {
        let error = page(&github, "issues", Some(cursor.clone()), now())
            .await
            .expect_err("over");
        assert_eq!(error.code(), "cursor_expired", "{cursor}");
    }
    let error = page(&github, "issues", None, now())
        .await
        .expect_err("a refusal");
    assert_eq!(
        error.code(),
        "permanent",
        "a first page has no cursor to blame"
    );
}

#[tokio::test]
async fn a_stream_that_does_not_exist_is_permanent() {
    let (_server, github, _) = github().await;
    let error = page(&github, "wishes", None, now())
        .await
        .expect_err("a refusal");
    assert_eq!(error.code(), "permanent");
}
