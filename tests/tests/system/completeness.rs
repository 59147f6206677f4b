//! Completeness of a connection while some of its lists cannot be read.

use chrono::{DateTime, Utc};
use provider_sim::Filter;
use serde_json::{Value, json};
use shared::clock::{Clock, SystemClock};
use tests::harness::{CompletenessReader, System, Tenant, eventually};
use uuid::Uuid;

/// Provider that refuses a list.
struct RefusedList {
    provider: &'static str,
    /// Pattern of requests for the refused list.
    pattern: &'static str,
    /// Prefix of its streams' keys.
    stream: &'static str,
    /// Action that happens without a delivery.
    action: &'static str,
}

const GITHUB: RefusedList = RefusedList {
    provider: "github",
    pattern: "GET /repos/*/issues",
    stream: "issue",
    action: "issues.opened",
};
const SLACK: RefusedList = RefusedList {
    provider: "slack",
    pattern: "conversations.history",
    stream: "messages:",
    action: "message.posted",
};
const JIRA: RefusedList = RefusedList {
    provider: "jira",
    pattern: "search/jql",
    stream: "issues",
    action: "issue.created",
};

/// Completeness of the feed.
async fn completeness(tenant: &Tenant<'_>) -> Value {
    let page = tenant.get_when_current("/v1/signals?limit=1").await;
    page["completeness"].clone()
}

fn time(value: &Value) -> DateTime<Utc> {
    let text = value.as_str().unwrap_or_else(|| panic!("a time: {value}"));
    text.parse().expect("RFC 3339")
}

/// Waits for the first reconciliation and returns its `reconciled_through`.
async fn reconciled_through(tenant: &Tenant<'_>) -> DateTime<Utc> {
    let mut through = Value::Null;
    eventually("the past is reconciled", async || {
        through = completeness(tenant).await["reconciled_through"].clone();
        !through.is_null()
    })
    .await;
    time(&through)
}

/// Drops all deliveries from now on and performs the action.
async fn act_without_delivery(system: &System, case: &RefusedList, account: &str) -> DateTime<Utc> {
    let lost = json!({ "target": "delivery", "effect": "drop_silently" });
    system.sim("faults", lost).await;
    let act = json!({ "account": account, "action": case.action });
    system.sim(&format!("{}/act", case.provider), act).await;
    SystemClock.now()
}

/// Polls without the reconciliation pass and waits until all jobs are done.
async fn poll_and_drain(system: &System, tenant: &Tenant<'_>) {
    tenant.poll().await;
    system.drain().await;
}

async fn refused_lists_hold_completeness_back(case: &RefusedList) {
    let system = System::with_fast_provider()
        .simulator(|sim| sim.history = 5)
        .start()
        .await;
    let (account, admin) = system.accounts_at(case.provider).await.remove(0);
    let tenant = system.tenant("Acme").await;
    let connection = tenant.connect_to(case.provider, &account, &admin).await;
    system.drain().await;
    let refused = json!({ "target": "request", "pattern": case.pattern, "effect": "forbidden" });
    system.sim("faults", refused).await;
    let before = time(&completeness(&tenant).await["complete_through"]);
    let happened = act_without_delivery(&system, case, &account).await;
    for _ in 0..2 {
        poll_and_drain(&system, &tenant).await;
        let reported = completeness(&tenant).await;
        let held = time(&reported["complete_through"]);
        assert!(held == before && held < happened, "{reported:#}");
        let one = &reported["connections"][0];
        assert_eq!(one["behind"], "denied", "{reported:#}");
        assert_eq!(one["held_back_by"]["code"], "permission", "{reported:#}");
        let stream = one["held_back_by"]["stream"].as_str().expect("a stream");
        assert!(stream.starts_with(case.stream), "{reported:#}");
        assert!(
            time(&one["held_back_by"]["since"]) <= SystemClock.now(),
            "{reported:#}"
        );
        assert_eq!(reported["behind"], 1, "{reported:#}");
        let path = format!("/v1/connections/{connection}");
        let shown = tenant.get(&path).await;
        assert_eq!(shown["status"], "active", "{shown:#}");
        assert_eq!(shown["last_error"]["code"], "permission", "{shown:#}");
    }

    clear_request_faults(&system).await;
    poll_and_drain(&system, &tenant).await;
    let reported = completeness(&tenant).await;
    assert!(time(&reported["complete_through"]) > before, "{reported:#}");
    assert_eq!(
        reported["connections"][0]["behind"],
        Value::Null,
        "{reported:#}"
    );
    assert_eq!(
        reported["connections"][0]["held_back_by"],
        Value::Null,
        "{reported:#}"
    );
    tenant.assert_equals_ledger(&account).await;
}

/// Deletes the faults of requests; deliveries are still dropped.
async fn clear_request_faults(system: &System) {
    for fault in system.faults().await {
        if fault["target"] == "request" {
            let url = format!(
                "{}/_sim/faults/{}",
                system.simulator.base_url(),
                fault["id"]
            );
            let response = system.client.delete(url).send().await.expect("a response");
            assert!(response.status().is_success(), "{}", response.status());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn complete_through_over_refused_streams_of_github() {
    refused_lists_hold_completeness_back(&GITHUB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn complete_through_over_refused_streams_of_slack() {
    refused_lists_hold_completeness_back(&SLACK).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn complete_through_over_refused_streams_of_jira() {
    refused_lists_hold_completeness_back(&JIRA).await;
}

/// One list that rejects every token holds completeness back, while the others are read.
#[tokio::test(flavor = "multi_thread")]
async fn token_rejected_by_one_list_stops_only_that_list() {
    let system = System::with_fast_provider()
        .simulator(|sim| sim.history = 5)
        .start()
        .await;
    let (account, tenant, _) = system.connect_account("github").await;
    let before = time(&completeness(&tenant).await["complete_through"]);
    let rejected =
        json!({ "target": "request", "pattern": GITHUB.pattern, "effect": "unauthorized" });
    system.sim("faults", rejected).await;
    act_without_delivery(&system, &GITHUB, &account).await;
    let act = json!({ "account": account, "action": "pull_request.opened" });
    system.sim("github/act", act).await;
    tenant.poll().await;
    let mut reported = Value::Null;
    eventually("the list that rejects the token is named", async || {
        reported = completeness(&tenant).await;
        reported["connections"][0]["held_back_by"]["code"] == "unauthorized"
    })
    .await;
    assert_eq!(time(&reported["complete_through"]), before, "{reported:#}");
    eventually("the list that works is read", async || {
        let (missing, _) = tenant.difference(&[&account]).await;
        missing.len() == 1
    })
    .await;

    clear_request_faults(&system).await;
    eventually("the other list is read", async || {
        tenant.poll().await;
        let (missing, _) = tenant.difference(&[&account]).await;
        missing.is_empty()
    })
    .await;
    let shown = tenant.get("/v1/connections").await;
    assert_eq!(shown["connections"][0]["status"], "active", "{shown:#}");
}

/// Proves that the comparison with the ledger can fail.
#[tokio::test(flavor = "multi_thread")]
async fn broken_completeness_promise_is_detected() {
    let system = System::with_fast_provider()
        .simulator(|sim| sim.history = 5)
        .start()
        .await;
    let (account, tenant, connection) = system.connect_account("slack").await;
    let mut reader = CompletenessReader::new(&tenant, &[&account]);
    eventually("the page promises the past", async || {
        reader.assert_completeness_holds().await;
        reader.compared() > 0
    })
    .await;
    act_without_delivery(&system, &SLACK, &account).await;
    sqlx::query(
        "UPDATE connections SET complete_through = now() + interval '1 minute', \
             previous_complete_through = now() + interval '1 minute' WHERE id = $1",
    )
    .bind(connection)
    .execute(system.db.pool())
    .await
    .expect("the query result");
    let broken = reader.broken_promises().await;
    assert_eq!(broken.len(), 1, "{broken:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn run_with_all_streams_refused_fails() {
    let system = System::with_fast_provider().start().await;
    let (account, admin) = system.accounts().await.remove(0);
    let tenant = system.tenant("Acme").await;
    tenant.connect(&account, &admin).await;
    system.drain().await;
    let refused =
        json!({ "target": "request", "pattern": "GET /repos/", "effect": "status", "status": 404 });
    system.sim("faults", refused).await;
    poll_and_drain(&system, &tenant).await;
    let jobs = tenant.get("/v1/jobs?kind=sync_connection&limit=1").await;
    let job = &jobs["jobs"][0];
    assert_eq!(job["state"], "dead", "{job:#}");
    assert_eq!(job["error"]["code"], "permission", "{job:#}");
}

/// Jira's index may show a row only after a later one has been read.
#[tokio::test(flavor = "multi_thread")]
async fn late_indexed_row_is_found_by_reconciliation() {
    let system = System::with_fast_provider()
        .simulator(|sim| sim.history = 5)
        .start()
        .await;
    let (account, tenant, connection) = system.connect_account("jira").await;
    let before = reconciled_through(&tenant).await;
    let lost = json!({ "target": "delivery", "effect": "drop_silently" });
    system.sim("faults", lost).await;
    let act = json!({ "account": account, "action": "issue.created" });
    let done: Value = system.sim("jira/act", act).await;
    // Simulates that a change ten minutes later has already been read.
    change_cursor(
        &system,
        connection,
        "issues",
        "cursor = jsonb_set(cursor::jsonb, '{high}', to_jsonb( \
             (extract(epoch FROM now() + interval '10 minutes') * 1000)::bigint))::json",
    )
    .await;
    poll_and_drain(&system, &tenant).await;
    let (missing, _) = tenant.difference(&[&account]).await;
    assert_eq!(missing.len(), 1, "the poll cannot see it: {missing:?}");
    let identities = tenant.identities().await;
    let reported = completeness(&tenant).await;
    assert_eq!(
        time(&reported["reconciled_through"]),
        before,
        "{reported:#}"
    );

    tenant.poll_and_reconcile().await;
    system.drain().await;
    let after = tenant.identities().await;
    assert!(after.len() > identities.len(), "{done:#} was not found");
    eventually("reconciled_through has advanced", async || {
        time(&completeness(&tenant).await["reconciled_through"]) > before
    })
    .await;
    tenant.assert_equals_ledger(&account).await;
}

async fn change_cursor(system: &System, connection: Uuid, streams: &str, change: &str) {
    let statement =
        format!("UPDATE cursors SET {change} WHERE connection_id = $1 AND stream LIKE $2");
    let changed = sqlx::query(sqlx::AssertSqlSafe(statement))
        .bind(connection)
        .bind(streams)
        .execute(system.db.pool())
        .await
        .expect("a change");
    assert!(changed.rows_affected() > 0);
}

/// Asserts that an action on an old message is found by the reconciliation pass only.
///
/// An incremental sync reads the newest page of a channel and the replies since the last sync.
async fn assert_only_reconciliation_finds(of_kind: &str, action: &str) {
    let system = System::with_fast_provider()
        .simulator(|sim| (sim.accounts, sim.providers.slack.channels, sim.history) = (1, 1, 300))
        .start()
        .await;
    let (account, admin) = system.accounts_at("slack").await.remove(0);
    let tenant = system.tenant("Acme").await;
    tenant.connect_to("slack", &account, &admin).await;
    system.drain().await;
    let before = reconciled_through(&tenant).await;
    let oldest = Filter {
        account: Some(account.clone()),
        kind: Some(of_kind.to_owned()),
        limit: Some(1),
        ..Filter::default()
    };
    let message = system.simulator.ledger(&oldest).remove(0).dedupe_key;
    let [_, _, _, channel, ts] = message.split(':').collect::<Vec<_>>()[..] else {
        panic!("a message's key: {message}");
    };
    let lost = json!({ "target": "delivery", "effect": "drop_silently" });
    system.sim("faults", lost).await;
    let act = json!({
        "account": account, "action": action, "channel": channel, "ts": ts, "text": "belated",
    });
    system.sim("slack/act", act).await;
    let happened = SystemClock.now();
    poll_and_drain(&system, &tenant).await;
    let (missing, _) = tenant.difference(&[&account]).await;
    assert_eq!(missing.len(), 1, "the poll cannot see it: {missing:?}");
    let reported = completeness(&tenant).await;
    assert_eq!(
        time(&reported["reconciled_through"]),
        before,
        "{reported:#}"
    );
    assert!(before < happened);

    tenant.poll_and_reconcile().await;
    system.drain().await;
    eventually("reconciled_through has advanced", async || {
        time(&completeness(&tenant).await["reconciled_through"]) > before
    })
    .await;
    tenant.assert_equals_ledger(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slack_lost_reply_not_found_until_reconciliation() {
    assert_only_reconciliation_finds("message_posted", "message.replied").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slack_lost_reply_not_found_when_edited() {
    assert_only_reconciliation_finds("thread_replied", "message.edited").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_edit_of_old_message_waits_for_reconciliation() {
    assert_only_reconciliation_finds("message_posted", "message.edited").await;
}
