//! Tests of pull requests and reviews.

use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::server::{List, latest_update_first, since, unchanged};
use super::{backfill_from, page, run, stamp, user};
use crate::connectors::github::tests::{github, html, not_found, now};
use crate::connectors::{Connector, SyncRequest};

const PULLS: &str = "/repos/octo-org/hello/pulls";

fn ago(minutes: i64) -> DateTime<Utc> {
    now() - Duration::minutes(minutes)
}

fn pull(id: u64, updated_at: DateTime<Utc>) -> Value {
    json!({
        "id": id + 10_000, "number": id, "title": format!("Change {id}"), "state": "open",
        "html_url": format!("https://github.com/octo-org/hello/pull/{id}"), "draft": false,
        "user": user(1), "base": { "ref": "main" }, "head": { "ref": "topic" },
        "created_at": stamp(updated_at), "updated_at": stamp(updated_at),
        "closed_at": null, "merged_at": null,
    })
}

async fn mount_reviews(server: &MockServer, number: u64, rows: Vec<Value>) -> List {
    List::at(
        server,
        &format!("{PULLS}/{number}/reviews"),
        unchanged,
        rows,
    )
    .await
}

fn review(id: u64, state: &str, at: Option<DateTime<Utc>>) -> Value {
    json!({
        "id": id, "state": state, "body": "Seen.", "user": user(2), "submitted_at": at.map(stamp),
        "html_url": format!("https://github.com/octo-org/hello/pull/1#pullrequestreview-{id}"),
    })
}

/// Mounts an empty list of reviews for all other pull requests.
async fn mount_no_other_reviews(server: &MockServer) {
    Mock::given(method("GET"))
        .and(wiremock::matchers::path_regex(
            "^/api/v3/repos/octo-org/hello/pulls/[0-9]+/reviews$",
        ))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!([])))
        .with_priority(200)
        .mount(server)
        .await;
}

fn opened(ids: impl IntoIterator<Item = u64>) -> Vec<String> {
    let mut keys: Vec<String> = ids
        .into_iter()
        .map(|id| format!("github:pr:{}:opened", id + 10_000))
        .collect();
    keys.sort_unstable();
    keys
}

#[tokio::test]
async fn walk_ends_at_mark_and_skips_no_row() {
    let (server, github, _) = github().await;
    mount_no_other_reviews(&server).await;
    let rows = (1..=250_u64).map(|id| pull(id, ago(10_000) + Duration::minutes(id.cast_signed())));
    let list = List::at(&server, PULLS, latest_update_first, rows.collect()).await;
    // During the walk, pull requests are updated and opened after this run's upper bound.
    list.on_each_response(|count, rows| {
        rows[count]["updated_at"] = json!(stamp(ago(2)));
        rows.push(pull(500 + count as u64, ago(2)));
    });
    let first = run(&github, "pulls", None, ago(5)).await;
    let keys = first.keys();
    list.on_each_response(|_, _| {});
    let before = list.responses();
    let second = run(&github, "pulls", Some(first.cursor), now()).await;
    let mut all: Vec<String> = keys.into_iter().chain(second.keys()).collect();
    all.sort_unstable();
    all.dedup();
    for key in opened(1..=250) {
        assert!(all.contains(&key), "{key}");
    }
    assert!(all.contains(&opened([501])[0]));
    assert!(
        list.responses() - before <= 2,
        "one page, read twice by this test"
    );
}

#[tokio::test]
async fn merged_and_closed_pulls_have_different_kinds() {
    let (server, github, _) = github().await;
    mount_no_other_reviews(&server).await;
    let mut merged = pull(1, ago(9));
    merged["state"] = json!("closed");
    merged["closed_at"] = json!(stamp(ago(9)));
    merged["merged_at"] = json!(stamp(ago(9)));
    merged["created_at"] = json!(stamp(backfill_from() - Duration::days(3)));
    let mut closed = pull(2, ago(8));
    closed["state"] = json!("closed");
    closed["closed_at"] = json!(stamp(ago(8)));
    List::at(&server, PULLS, latest_update_first, vec![merged, closed]).await;
    let run = run(&github, "pulls", None, now()).await;
    assert_eq!(
        run.keys(),
        [
            "github:pr:10001:merged".to_owned(),
            format!("github:pr:10002:closed:{}", stamp(ago(8))),
            "github:pr:10002:opened".to_owned(),
        ]
    );
}

#[tokio::test]
async fn reviews_of_changed_pulls_are_read() {
    let (server, github, _) = github().await;
    let list = List::at(
        &server,
        PULLS,
        latest_update_first,
        (1..=25_u64).map(|id| pull(id, ago(30))).collect(),
    )
    .await;
    let many: Vec<Value> = (1..=130_u64)
        .map(|id| review(id, "COMMENTED", Some(ago(20))))
        .collect();
    let mut container = review(905, "COMMENTED", Some(ago(20)));
    container["body"] = json!("");
    mount_reviews(&server, 7, many).await;
    mount_reviews(
        &server,
        25,
        vec![
            review(900, "APPROVED", Some(ago(20))),
            review(901, "DISMISSED", Some(ago(20))),
            review(902, "PENDING", None),
            review(
                903,
                "CHANGES_REQUESTED",
                Some(backfill_from() - Duration::days(1)),
            ),
            container,
        ],
    )
    .await;
    mount_no_other_reviews(&server).await;
    let first = run(&github, "pulls", None, now()).await;
    let keys: Vec<&str> = first
        .signals
        .iter()
        .filter(|signal| signal.dedupe_key.starts_with("github:review:"))
        .map(|signal| signal.dedupe_key.as_str())
        .collect();
    assert_eq!(keys.len(), 132, "130 on two pages, 2 of the 5");
    let state = |key: &str| {
        let found = first.signals.iter().find(|signal| signal.dedupe_key == key);
        found.expect("the review").normalized["state"].clone()
    };
    assert_eq!(state("github:review:900:submitted"), json!("approved"));
    assert_eq!(state("github:review:901:submitted"), Value::Null);
    assert!(first.pages >= 4, "the reviews are spread over pages");

    // Without changes there is one conditional call, and no review is read again.
    let calls = server.received_requests().await.expect("requests").len();
    let second = run(&github, "pulls", Some(first.cursor), now()).await;
    assert!(second.signals.is_empty());
    assert_eq!(list.not_modified(), 2);
    assert_eq!(
        server.received_requests().await.expect("requests").len() - calls,
        2
    );
}

#[tokio::test]
async fn rate_limit_keeps_reviews_already_read() {
    let (server, github, _) = github().await;
    let rows = (1..=5_u64).map(|id| pull(id, ago(30) + Duration::seconds(id.cast_signed())));
    List::at(&server, PULLS, latest_update_first, rows.collect()).await;
    mount_reviews(&server, 5, vec![review(1, "APPROVED", Some(ago(20)))]).await;
    Mock::given(path(format!("/api/v3{PULLS}/4/reviews")))
        .respond_with(ResponseTemplate::new(429).insert_header("retry-after", "9"))
        .up_to_n_times(2)
        .mount(&server)
        .await;
    mount_no_other_reviews(&server).await;
    let list = page(&github, "pulls", None, now()).await.expect("a page");
    let some = github
        .sync(super::request("pulls", Some(list.cursor), now()))
        .await
        .expect("some");
    assert_eq!(some.signals.len(), 1);
    assert!(some.has_more);
    let limited = page(&github, "pulls", Some(some.cursor.clone()), now()).await;
    assert_eq!(limited.expect_err("the limit").code(), "rate_limited");
    let rest = run(&github, "pulls", Some(some.cursor), now()).await;
    assert!(rest.signals.is_empty(), "{:?}", rest.keys());
}

#[tokio::test]
async fn missing_reviews_do_not_affect_others() {
    let (server, github, _) = github().await;
    List::at(
        &server,
        PULLS,
        latest_update_first,
        vec![pull(1, ago(3)), pull(2, ago(4))],
    )
    .await;
    Mock::given(path(format!("/api/v3{PULLS}/1/reviews")))
        .respond_with(not_found())
        .mount(&server)
        .await;
    mount_reviews(&server, 2, vec![review(5, "APPROVED", Some(ago(3)))]).await;
    let run = run(&github, "pulls", None, now()).await;
    assert!(run.keys().contains(&"github:review:5:submitted".to_owned()));
}

#[tokio::test]
async fn unreadable_reviews_are_passed_after_several_failures() {
    for response in [
        html(502),
        html(403),
        html(404),
        not_found().set_body_json(json!({})),
    ] {
        let (server, github, _) = github().await;
        let rows = (1..=3_u64).map(|id| pull(id, ago(10) - Duration::seconds(id.cast_signed())));
        List::at(&server, PULLS, latest_update_first, rows.collect()).await;
        Mock::given(path(format!("/api/v3{PULLS}/1/reviews")))
            .respond_with(response.clone())
            .mount(&server)
            .await;
        for number in [2, 3] {
            let review = review(number, "APPROVED", Some(ago(3)));
            mount_reviews(&server, number, vec![review]).await;
        }
        let mut cursor = Some(
            page(&github, "pulls", None, now())
                .await
                .expect("a page")
                .cursor,
        );
        let (mut failures, mut errors, mut unreadable, mut keys) = (0, 0, Vec::new(), Vec::new());
        let last = loop {
            let request = SyncRequest {
                failures,
                ..super::request("pulls", cursor.clone(), now())
            };
            let Ok(page) = github.sync(request).await else {
                (failures, errors) = (failures + 1, errors + 1);
                continue;
            };
            failures = 0;
            keys.extend(page.signals.iter().map(|signal| signal.dedupe_key.clone()));
            unreadable.extend(page.unreadable_rows.iter().map(|row| row.id.clone()));
            if !page.has_more {
                break page;
            }
            cursor = Some(page.cursor);
        };
        assert!(errors <= 2, "{errors}");
        assert_eq!(unreadable, [Some("1".to_owned())]);
        assert_eq!(last.failing_part, Some("the reviews of some pull requests"));
        keys.sort_unstable();
        assert_eq!(
            keys,
            ["github:review:2:submitted", "github:review:3:submitted"]
        );
    }
}

#[tokio::test]
async fn outage_passes_no_reviews() {
    let (server, github, _) = github().await;
    List::at(&server, PULLS, latest_update_first, vec![pull(1, ago(3))]).await;
    let list = page(&github, "pulls", None, now()).await.expect("a page");
    server.reset().await;
    let outage = Mock::given(method("GET")).respond_with(html(502));
    outage.mount(&server).await;
    for failures in 0..9 {
        let request = SyncRequest {
            failures,
            ..super::request("pulls", Some(list.cursor.clone()), now())
        };
        let error = github.sync(request).await.expect_err("the outage");
        assert_eq!(error.code(), "transient", "{failures}");
    }
}

#[tokio::test]
async fn pull_request_with_textual_numbers_is_read() {
    let (server, github, _) = github().await;
    let mut odd = pull(1, ago(3));
    odd["number"] = json!("1");
    odd["draft"] = json!("true");
    odd["user"]["id"] = json!("583231");
    List::at(&server, PULLS, latest_update_first, vec![odd]).await;
    mount_reviews(&server, 1, vec![review(5, "APPROVED", Some(ago(3)))]).await;
    let run = run(&github, "pulls", None, now()).await;
    assert!(run.keys().contains(&"github:review:5:submitted".to_owned()));
    let opened = run
        .signals
        .iter()
        .find(|one| one.dedupe_key.ends_with(":opened"));
    let opened = opened.expect("the pull request");
    assert_eq!(opened.normalized["draft"], json!(true));
    assert_eq!(opened.subject.key.as_deref(), Some("octo-org/hello#1"));
    assert_eq!(opened.actor.id.as_deref(), Some("583231"));
}

/// A reply to a comment of a review arrives as a comment and as a review without a text.
#[tokio::test]
async fn gh_review_reply_two_signals_by_polling() {
    let (server, github, _) = github().await;
    List::at(&server, PULLS, latest_update_first, vec![pull(1, ago(3))]).await;
    let mut container = review(1, "COMMENTED", Some(ago(3)));
    container["body"] = Value::Null;
    mount_reviews(&server, 1, vec![container]).await;
    let reply = json!({
        "id": 2, "pull_request_review_id": 1, "in_reply_to_id": 9, "body": "done",
        "user": user(2), "path": "a.rs",
        "html_url": "https://github.com/octo-org/hello/pull/1#discussion_r2",
        "pull_request_url": "https://api.github.com/repos/octo-org/hello/pulls/1",
        "created_at": stamp(ago(3)), "updated_at": stamp(ago(3)),
    });
    List::at(&server, &format!("{PULLS}/comments"), since, vec![reply]).await;
    let mut keys = run(&github, "pulls", None, now()).await.keys();
    keys.extend(run(&github, "review_comments", None, now()).await.keys());
    keys.retain(|key| !key.ends_with(":opened"));
    assert_eq!(keys, ["github:review_comment:2:created"]);
}
