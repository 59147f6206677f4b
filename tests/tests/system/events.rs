//! Events of connections, each change once, and those of the service for operators.

use serde_json::{Value, json};
use shared::model::EventType;
use tests::harness::{System, Tenant, eventually};
use uuid::Uuid;

use crate::health::{act, execute, fault, get_as_operator, small};

/// The types of a list of events, oldest first.
fn types(list: &Value) -> Vec<String> {
    let events = list["events"].as_array().expect("a list").iter().rev();
    let types = events.map(|event| event["type"].as_str().expect("a type").to_owned());
    types.collect()
}

async fn types_of(tenant: &Tenant<'_>) -> Vec<String> {
    types(&tenant.get("/v1/events").await)
}

/// Waits until the tenant has exactly these events.
async fn assert_events(tenant: &Tenant<'_>, expected: &[EventType]) {
    let expected: Vec<&str> = expected.iter().map(|event| event.as_str()).collect();
    let mut found = Vec::new();
    eventually("the events are written", async || {
        found = types_of(tenant).await;
        assert!(found.len() <= expected.len(), "{found:?}, not {expected:?}");
        found.len() == expected.len()
    })
    .await;
    assert_eq!(found, expected);
}

async fn wait_for_reason(tenant: &Tenant<'_>, connection: Uuid, reason: &str) {
    let path = format!("/v1/connections/{connection}");
    eventually(reason, async || {
        tenant.get(&path).await["health"]["reason"] == reason
    })
    .await;
}

/// Lets the reported state have lasted for two minutes.
async fn let_state_last(system: &System) {
    execute(
        system,
        "UPDATE connections SET reported_since = now() - interval '2 minutes'",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_has_an_event_per_change() {
    use EventType::{
        ConnectionActionRequired, ConnectionBackfilled, ConnectionConnected,
        ConnectionDisconnected, ConnectionRecovered,
    };

    let system = small().workers(2).start().await;
    let (account, tenant, connection) = system.connect_account("github").await;
    wait_for_reason(&tenant, connection, "up_to_date").await;
    assert_events(&tenant, &[ConnectionConnected, ConnectionBackfilled]).await;

    act(&system, "github", &account, "installation.suspend").await;
    wait_for_reason(&tenant, connection, "suspended_at_provider").await;
    let_state_last(&system).await;
    act(&system, "github", &account, "installation.unsuspend").await;
    wait_for_reason(&tenant, connection, "up_to_date").await;
    let path = format!("/v1/connections/{connection}");
    let ended = tenant.request(reqwest::Method::DELETE, &path, None).await;
    assert!(ended.status().is_success(), "{}", ended.status());
    let all = [
        ConnectionConnected,
        ConnectionBackfilled,
        ConnectionActionRequired,
        ConnectionRecovered,
        ConnectionDisconnected,
    ];
    assert_events(&tenant, &all).await;
    let (_, admin) = system.accounts().await.remove(0);
    tenant.connect(&account, &admin).await;
    let again = [ConnectionConnected, ConnectionBackfilled];
    assert_events(&tenant, &[&all[..], &again].concat()).await;

    let list = tenant
        .get("/v1/events?type=connection.action_required")
        .await;
    let event = &list["events"][0];
    assert_eq!(event["connection_id"], json!(connection), "{event:#}");
    assert_eq!(event["tenant_id"], json!(tenant.id));
    assert_eq!(event["data"]["previous_state"], "backfilling");
    let health = &event["data"]["health"];
    assert_eq!(health["reason"], "suspended_at_provider", "{event:#}");
    assert_eq!(health["action"]["who"], "team_admin", "{event:#}");
    let connected = tenant.get("/v1/events?type=connection.connected").await;
    let is_resumed = |index: usize| connected["events"][index]["data"]["resumed"].clone();
    assert_eq!((is_resumed(0), is_resumed(1)), (json!(true), json!(false)));

    let of_all = get_as_operator(&system, "/v1/events").await;
    assert_eq!(of_all["events"], tenant.get("/v1/events").await["events"]);
    let stranger = system.tenant("Stranger").await;
    assert_eq!(types_of(&stranger).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn flapping_connection_causes_one_event() {
    use EventType::{
        ConnectionActionRequired, ConnectionBackfilled, ConnectionConnected, ConnectionRecovered,
    };

    let system = small().workers(2).start().await;
    let (account, tenant, connection) = system.connect_account("github").await;
    wait_for_reason(&tenant, connection, "up_to_date").await;
    for _ in 0..4 {
        act(&system, "github", &account, "installation.suspend").await;
        wait_for_reason(&tenant, connection, "suspended_at_provider").await;
        act(&system, "github", &account, "installation.unsuspend").await;
        wait_for_reason(&tenant, connection, "up_to_date").await;
    }
    let reported = [
        ConnectionConnected,
        ConnectionBackfilled,
        ConnectionActionRequired,
    ];
    assert_events(&tenant, &reported).await;
    // A minute later, it still works.
    execute(
        &system,
        "UPDATE connections SET report_due_at = now() WHERE report_due_at IS NOT NULL",
    )
    .await;
    execute(
        &system,
        "UPDATE connection_routes SET health_review_at = now()",
    )
    .await;
    assert_events(&tenant, &[&reported[..], &[ConnectionRecovered]].concat()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscription_that_is_not_renewed_is_announced_once() {
    let system = small().workers(2).start().await;
    let (_, tenant, connection) = system.connect_account("google_drive").await;
    wait_for_reason(&tenant, connection, "up_to_date").await;
    system.drain().await;
    let refused =
        json!({ "target": "request", "pattern": "/watch", "effect": "status", "status": 503 });
    fault(&system, refused).await;
    execute(
        &system,
        "UPDATE subscriptions SET expires_at = now() + interval '9 minutes' WHERE desired",
    )
    .await;
    let path = "/v1/events?type=subscription.expiring";
    let list_by_key = async || -> Vec<Value> {
        let list = tenant.get(path).await;
        let events = list["events"].as_array().expect("a list").iter();
        let keys = events.map(|event| {
            json!([
                event["subscription_id"],
                event["data"]["resource"],
                event["data"]["expires_at"]
            ])
        });
        keys.collect()
    };
    eventually("the expiry is announced", async || {
        !list_by_key().await.is_empty()
    })
    .await;
    let announced = list_by_key().await;
    for _ in 0..2 {
        run_task_again(&system).await;
    }
    assert_eq!(list_by_key().await, announced, "each expiry once");
    let list = tenant.get(path).await;
    assert_eq!(list["events"][0]["connection_id"], json!(connection));
}

/// Makes the periodic task of events due and waits until it has run.
async fn run_task_again(system: &System) {
    execute(
        system,
        "UPDATE periodic_tasks SET next_at = now() WHERE name = 'events'",
    )
    .await;
    eventually("the task has run", async || {
        let is_over: bool = sqlx::query_scalar(
            "SELECT next_at > now() + interval '5 seconds' FROM periodic_tasks WHERE name = 'events'",
        )
        .fetch_one(system.db.pool())
        .await
        .expect("the task");
        is_over
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_deliveries_are_reported_to_operators() {
    let system = small().workers(2).start().await;
    let (_, tenant, _) = system.connect_account("github").await;
    let path = "/v1/events?type=deliveries.rejected";
    let reject = async |count: usize| {
        for _ in 0..count {
            let request = system
                .client
                .post(format!("{}/webhooks/github", system.ingress))
                .header("x-github-event", "issues")
                .header("x-github-delivery", Uuid::new_v4().to_string())
                .header("x-hub-signature-256", format!("sha256={:064}", 0))
                .body("{}");
            let response = request.send().await.expect("a response");
            assert_eq!(response.status(), 401);
        }
    };
    // More than a tenth of what the hour has brought so far.
    reject(40).await;
    let mut list = Value::Null;
    eventually("the rejection is reported", async || {
        list = get_as_operator(&system, path).await;
        list["events"] != json!([])
    })
    .await;
    let event = &list["events"][0];
    assert_eq!(event["provider"], "github", "{event:#}");
    assert_eq!(event["tenant_id"], json!(Uuid::nil()), "{event:#}");
    assert!(event["data"]["rejected"].as_i64() >= Some(10), "{event:#}");
    assert!(event["data"]["by_result"]["mismatch"].as_i64() >= Some(10));
    assert_eq!(event["connection_id"], Value::Null);
    assert_eq!(tenant.get(path).await["events"], json!([]));
    // It is reported once per hour; the test may run while one ends.
    reject(20).await;
    run_task_again(&system).await;
    let later = get_as_operator(&system, path).await;
    let hours: std::collections::BTreeSet<String> = later["events"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|event| event["data"]["since"].to_string())
        .collect();
    assert_eq!(later["events"].as_array().map(Vec::len), Some(hours.len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_approval_has_an_event() {
    let system = small().workers(0).start().await;
    let tenant = system.tenant("Acme").await;
    // As the connect flow does when a member asks an owner for the installation.
    sqlx::query(
        "INSERT INTO connections (tenant_id, id, provider, status, poll_interval_seconds, \
             pending_until) \
         VALUES ($1, gen_random_uuid(), 'github', 'pending', 300, now() - interval '1 second')",
    )
    .bind(tenant.id)
    .execute(system.db.pool())
    .await
    .expect("stored");
    system.start_worker().await;
    assert_events(&tenant, &[EventType::ConnectionDisconnected]).await;
    let list = tenant.get("/v1/events").await;
    let health = &list["events"][0]["data"]["health"];
    assert_eq!(health["reason"], "approval_expired", "{list:#}");
}
