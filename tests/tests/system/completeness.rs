//! What a connection says of how far it has been read, while a part of it cannot be.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use shared::clock::{Clock, SystemClock};
use tests::harness::{CompletenessReader, System, Tenant, eventually};
use tests::simulator::Filter;
use uuid::Uuid;

/// A provider whose lists are refused.
struct Refused {
    provider: &'static str,
    /// Requests for the list that is refused.
    pattern: &'static str,
    /// What its streams' keys begin with.
    stream: &'static str,
    /// What happens meanwhile, of which no delivery tells.
    action: &'static str,
}

const GITHUB: Refused = Refused {
    provider: "github",
    pattern: "GET /repos/*/issues",
    stream: "issue",
    action: "issues.opened",
};
const SLACK: Refused = Refused {
    provider: "slack",
    pattern: "conversations.history",
    stream: "messages:",
    action: "message.posted",
};
const JIRA: Refused = Refused {
    provider: "jira",
    pattern: "search/jql",
    stream: "issues",
    action: "issue.created",
};

/// What the feed says of its completeness, once no transaction of another test in the same cluster
/// holds it back.
async fn completeness(tenant: &Tenant<'_>) -> Value {
    let mut told = Value::Null;
    eventually("nothing holds the feed back", async || {
        told = tenant.get("/v1/signals?limit=1").await["completeness"].clone();
        let connections = told["connections"].as_array().expect("a list");
        connections.iter().all(|one| one["behind"] != "held_back")
    })
    .await;
    told
}

fn time(value: &Value) -> DateTime<Utc> {
    let text = value.as_str().unwrap_or_else(|| panic!("a time: {value}"));
    text.parse().expect("RFC 3339")
}

/// Through when the past has been reconciled, once readers may see it.
async fn reconciled_through(tenant: &Tenant<'_>) -> DateTime<Utc> {
    let mut through = Value::Null;
    eventually("the past is reconciled", async || {
        through = completeness(tenant).await["reconciled_through"].clone();
        !through.is_null()
    })
    .await;
    time(&through)
}

/// Loses every delivery until further notice, and has something happen.
async fn happen_unseen(system: &System, of: &Refused, account: &str) -> DateTime<Utc> {
    let lost = json!({ "target": "delivery", "effect": "drop_silently" });
    system.sim("faults", lost).await;
    let act = json!({ "account": account, "action": of.action });
    system.sim(&format!("{}/act", of.provider), act).await;
    SystemClock.now()
}

/// Polls as a schedule does, without the reconciliation pass.
async fn poll_to_the_end(system: &System, tenant: &Tenant<'_>) {
    tenant.poll().await;
    system.drain().await;
}

async fn refused_lists_hold_completeness_back(of: &Refused) {
    let system = System::with_fast_provider()
        .simulator(|sim| sim.history = 5)
        .start()
        .await;
    let (account, admin) = system.accounts_at(of.provider).await.remove(0);
    let tenant = system.tenant("Acme").await;
    let connection = tenant.connect_to(of.provider, &account, &admin).await;
    system.drain().await;
    let refused = json!({ "target": "request", "pattern": of.pattern, "effect": "forbidden" });
    system.sim("faults", refused).await;
    let before = time(&completeness(&tenant).await["complete_through"]);
    let happened = happen_unseen(&system, of, &account).await;
    for _ in 0..2 {
        poll_to_the_end(&system, &tenant).await;
        let told = completeness(&tenant).await;
        let held = time(&told["complete_through"]);
        assert!(held == before && held < happened, "{told:#}");
        let one = &told["connections"][0];
        assert_eq!(one["behind"], "denied", "{told:#}");
        assert_eq!(one["held_back_by"]["code"], "permission", "{told:#}");
        let stream = one["held_back_by"]["stream"].as_str().expect("a stream");
        assert!(stream.starts_with(of.stream), "{told:#}");
        assert!(
            time(&one["held_back_by"]["since"]) <= SystemClock.now(),
            "{told:#}"
        );
        assert_eq!(told["behind"], 1, "{told:#}");
        let path = format!("/v1/connections/{connection}");
        let shown = tenant.get(&path).await;
        assert_eq!(shown["status"], "active", "{shown:#}");
        assert_eq!(shown["last_error"]["code"], "permission", "{shown:#}");
    }

    clear_requests(&system).await;
    poll_to_the_end(&system, &tenant).await;
    let told = completeness(&tenant).await;
    assert!(time(&told["complete_through"]) > before, "{told:#}");
    assert_eq!(told["connections"][0]["behind"], Value::Null, "{told:#}");
    assert_eq!(
        told["connections"][0]["held_back_by"],
        Value::Null,
        "{told:#}"
    );
    tenant.assert_equals_ledger(&account).await;
}

/// Ends the faults of requests; deliveries stay lost.
async fn clear_requests(system: &System) {
    for fault in system.faults().await {
        if fault["target"] == "request" {
            let url = format!(
                "{}/_sim/faults/{}",
                system.simulator.base_url(),
                fault["id"]
            );
            let answer = system.client.delete(url).send().await.expect("an answer");
            assert!(answer.status().is_success(), "{}", answer.status());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn field_complete_through_over_refused_streams_of_github() {
    refused_lists_hold_completeness_back(&GITHUB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn field_complete_through_over_refused_streams_of_slack() {
    refused_lists_hold_completeness_back(&SLACK).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn field_complete_through_over_refused_streams_of_jira() {
    refused_lists_hold_completeness_back(&JIRA).await;
}

/// The comparison with the ledger must be able to fail.
#[tokio::test(flavor = "multi_thread")]
async fn broken_promise_of_a_page_is_noticed() {
    let system = System::with_fast_provider()
        .simulator(|sim| sim.history = 5)
        .start()
        .await;
    let (account, tenant, connection) = system.connected("slack").await;
    let mut reader = CompletenessReader::new(&tenant, &[&account]);
    eventually("the page promises the past", async || {
        reader.assert_completeness_holds().await;
        reader.compared() > 0
    })
    .await;
    happen_unseen(&system, &SLACK, &account).await;
    sqlx::query(
        "UPDATE connections SET complete_through = now() + interval '1 minute', \
             settled_through = now() + interval '1 minute' WHERE id = $1",
    )
    .bind(connection)
    .execute(system.db.pool())
    .await
    .expect("Postgres answers");
    let broken = reader.broken_promises().await;
    assert_eq!(broken.len(), 1, "{broken:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn run_in_which_every_stream_is_refused_is_no_success() {
    let system = System::with_fast_provider().start().await;
    let (account, admin) = system.accounts().await.remove(0);
    let tenant = system.tenant("Acme").await;
    tenant.connect(&account, &admin).await;
    system.drain().await;
    let refused =
        json!({ "target": "request", "pattern": "GET /repos/", "effect": "status", "status": 404 });
    system.sim("faults", refused).await;
    poll_to_the_end(&system, &tenant).await;
    let jobs = tenant.get("/v1/jobs?kind=sync_connection&limit=1").await;
    let job = &jobs["jobs"][0];
    assert_eq!(job["state"], "dead", "{job:#}");
    assert_eq!(job["error"]["code"], "permission", "{job:#}");
}

/// Jira's index may show a row only after a later one has been read.
#[tokio::test(flavor = "multi_thread")]
async fn row_that_is_indexed_late_is_found_by_the_reconciliation_pass() {
    let system = System::with_fast_provider()
        .simulator(|sim| sim.history = 5)
        .start()
        .await;
    let (account, tenant, connection) = system.connected("jira").await;
    let before = reconciled_through(&tenant).await;
    let lost = json!({ "target": "delivery", "effect": "drop_silently" });
    system.sim("faults", lost).await;
    let act = json!({ "account": account, "action": "issue.created" });
    let done: Value = system.sim("jira/act", act).await;
    // As if a change of ten minutes later had been read already.
    change_cursor(
        &system,
        connection,
        "issues",
        "cursor = jsonb_set(cursor::jsonb, '{high}', to_jsonb( \
             (extract(epoch FROM now() + interval '10 minutes') * 1000)::bigint))::json",
    )
    .await;
    poll_to_the_end(&system, &tenant).await;
    let (missing, _) = tenant.difference(&[&account]).await;
    assert_eq!(missing.len(), 1, "the poll cannot see it: {missing:?}");
    let identities = tenant.identities().await;
    let told = completeness(&tenant).await;
    assert_eq!(time(&told["reconciled_through"]), before, "{told:#}");

    tenant.poll_and_reconcile().await;
    system.drain().await;
    let after = tenant.identities().await;
    assert!(after.len() > identities.len(), "{done:#} was not found");
    eventually("the pass has come further", async || {
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

/// An ordinary poll reads the newest page of a channel, and replies since the last one.
async fn is_found_by_reconciliation_alone(of_kind: &str, action: &str) {
    let system = System::with_fast_provider()
        .simulator(|sim| (sim.accounts, sim.channels, sim.history) = (1, 1, 300))
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
    poll_to_the_end(&system, &tenant).await;
    let (missing, _) = tenant.difference(&[&account]).await;
    assert_eq!(missing.len(), 1, "the poll cannot see it: {missing:?}");
    let claimed = completeness(&tenant).await;
    assert_eq!(time(&claimed["reconciled_through"]), before, "{claimed:#}");
    assert!(before < happened);

    tenant.poll_and_reconcile().await;
    system.drain().await;
    eventually("the pass has come further", async || {
        time(&completeness(&tenant).await["reconciled_through"]) > before
    })
    .await;
    tenant.assert_equals_ledger(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn field_slack_lost_reply_not_found_until_reconciliation() {
    is_found_by_reconciliation_alone("message_posted", "message.replied").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn field_slack_lost_reply_not_found_nor_its_edit() {
    is_found_by_reconciliation_alone("thread_replied", "message.edited").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_edit_of_old_message_waits_for_reconciliation() {
    is_found_by_reconciliation_alone("message_posted", "message.edited").await;
}
