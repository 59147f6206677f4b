//! Tests of workflow runs.

use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};
use wiremock::MockServer;

use super::server::{List, created};
use super::{backfill_from, run, stamp, user};
use crate::connectors::github::tests::{github, now};

fn ago(minutes: i64) -> DateTime<Utc> {
    now() - Duration::minutes(minutes)
}

fn completed(id: u64, at: DateTime<Utc>) -> Value {
    json!({
        "id": id, "name": "CI", "display_title": "Change", "run_number": id, "run_attempt": 1,
        "status": "completed", "conclusion": "success", "head_branch": "main",
        "head_sha": "a", "actor": user(1), "triggering_actor": user(1),
        "html_url": format!("https://github.com/octo-org/hello/actions/runs/{id}"),
        "created_at": stamp(at), "updated_at": stamp(at),
    })
}

fn incomplete(id: u64, at: DateTime<Utc>) -> Value {
    let mut run = completed(id, at);
    run["status"] = json!("in_progress");
    run["conclusion"] = Value::Null;
    run
}

async fn list(server: &MockServer, rows: Vec<Value>) -> List {
    let list_path = "/repos/octo-org/hello/actions/runs";
    List::put(
        server,
        list_path,
        created,
        rows,
        Some("workflow_runs"),
        1000,
    )
    .await
}

fn key(id: u64, attempt: u64) -> String {
    format!("github:workflow_run:{id}:{attempt}")
}

#[tokio::test]
async fn windows_are_halved_until_all_runs_fit() {
    let (server, github, _) = github().await;
    // Most of them are on one day.
    let rows: Vec<Value> = (1..=3_300)
        .map(|id: u64| {
            let at = if id <= 300 {
                backfill_from() + Duration::hours(7 * id.cast_signed())
            } else {
                ago(3_000) + Duration::seconds(20 * id.cast_signed())
            };
            completed(id, at)
        })
        .collect();
    list(&server, rows).await;
    let run = run(&github, "workflow_runs", None, now()).await;
    let newest = key(3_300, 1);
    let position = run.signals.iter().position(|one| one.dedupe_key == newest);
    assert!(
        position < Some(100),
        "the newest are read first: {position:?}"
    );
    let mut expected: Vec<String> = (1..=3_300_u64).map(|id| key(id, 1)).collect();
    expected.sort_unstable();
    assert_eq!(run.keys().len(), expected.len());
    assert_eq!(run.keys(), expected);
}

#[tokio::test]
async fn repeated_run_yields_signal_per_attempt() {
    let (server, github, _) = github().await;
    let rows = vec![
        completed(1, ago(2 * 24 * 60)),
        incomplete(2, ago(9 * 24 * 60)),
        completed(3, ago(60)),
    ];
    let list = list(&server, rows).await;
    let first = run(&github, "workflow_runs", None, now()).await;
    assert_eq!(first.keys(), [key(1, 1), key(3, 1)]);

    // The second completes after nine days; the first is repeated.
    list.change(|rows| {
        rows[1] = completed(2, ago(9 * 24 * 60));
        rows[1]["updated_at"] = json!(stamp(ago(1)));
        rows[0]["run_attempt"] = json!(2);
        rows[0]["updated_at"] = json!(stamp(ago(1)));
    });
    let second = run(&github, "workflow_runs", Some(first.cursor), now()).await;
    assert_eq!(second.keys(), [key(1, 2), key(2, 1), key(3, 1)]);

    // No run is incomplete or new.
    let third = run(&github, "workflow_runs", Some(second.cursor), now()).await;
    let unchanged_run = run(&github, "workflow_runs", Some(third.cursor), now()).await;
    assert!(unchanged_run.signals.is_empty());
    assert_eq!(list.not_modified(), 2);
}

#[tokio::test]
async fn look_back_over_many_runs_is_rare_and_holds_completeness() {
    let (server, github, _) = github().await;
    let rows: Vec<Value> = (1..=700_u64)
        .map(|id| completed(id, ago(720) + Duration::minutes(id.cast_signed())))
        .collect();
    let list = list(&server, rows).await;
    let first = run(&github, "workflow_runs", None, now()).await;
    assert_eq!(first.keys().len(), 700);

    list.change(|rows| rows[5]["run_attempt"] = json!(2));
    let responses = list.responses();
    let soon = run(
        &github,
        "workflow_runs",
        Some(first.cursor),
        now() + Duration::minutes(5),
    )
    .await;
    assert_eq!(
        list.responses() - responses,
        2,
        "one page, read twice by this test"
    );
    assert!(!soon.keys().contains(&key(6, 2)));
    assert_eq!(
        soon.covered_through,
        Some(now()),
        "the repetition is not covered"
    );
    let later = run(
        &github,
        "workflow_runs",
        Some(soon.cursor),
        now() + Duration::minutes(61),
    )
    .await;
    assert!(later.keys().contains(&key(6, 2)));
    assert_eq!(later.covered_through, None);
}

#[tokio::test]
async fn repetition_of_old_run_is_found_by_reconciliation() {
    let (server, github, _) = github().await;
    let mut repeated = completed(1, ago(29 * 24 * 60));
    repeated["run_attempt"] = json!(2);
    repeated["updated_at"] = json!(stamp(ago(60)));
    let old = completed(2, ago(10 * 24 * 60));
    list(&server, vec![repeated, old, completed(3, ago(50))]).await;
    let mut request = super::request("workflow_runs", None, now());
    request.reconcile_from = Some(now() - Duration::days(7));
    let page = crate::connectors::Connector::sync(&github, request).await;
    let page = page.expect("a page");
    let mut keys: Vec<_> = page
        .signals
        .iter()
        .map(|one| one.dedupe_key.clone())
        .collect();
    keys.sort_unstable();
    assert_eq!(keys, [key(1, 2), key(3, 1)]);
    assert!(!page.has_more);
}

#[tokio::test]
async fn repetition_after_floor_of_run_before_it_is_read() {
    let (server, github, _) = github().await;
    let mut repeated = completed(1, backfill_from() - Duration::days(20));
    repeated["run_attempt"] = json!(2);
    repeated["updated_at"] = json!(stamp(backfill_from() + Duration::days(1)));
    let before = completed(2, backfill_from() - Duration::days(1));
    list(&server, vec![repeated, before]).await;
    let run = run(&github, "workflow_runs", None, now()).await;
    assert_eq!(run.keys(), [key(1, 2)]);
}
