//! The health of a connection under twelve breakages: the sentence and the action of each.

mod webhooks;

use reqwest::Method;
use serde_json::{Value, json};
use tests::harness::{OPERATOR_TOKEN, System, Tenant, eventually};
use uuid::Uuid;

/// The expected health.
#[derive(Clone, Copy)]
struct Expected {
    state: &'static str,
    reason: &'static str,
    kind: &'static str,
    who: &'static str,
    /// A part of the sentence.
    says: &'static str,
}

/// Waits until the connection has this health, and checks that lists find it by its state.
async fn assert_health(tenant: &Tenant<'_>, connection: Uuid, expected: Expected) -> Value {
    let path = format!("/v1/connections/{connection}");
    let mut health = Value::Null;
    eventually(expected.reason, async || {
        health = tenant.get(&path).await["health"].clone();
        health["reason"] == expected.reason
    })
    .await;
    assert_eq!(health["state"], expected.state, "{health:#}");
    let action = &health["action"];
    assert_eq!(action["kind"], expected.kind, "{health:#}");
    assert_eq!(action["who"], expected.who, "{health:#}");
    let sentence = health["explanation"].as_str().expect("a sentence");
    assert!(sentence.contains(expected.says), "{sentence}");
    assert!(health["since"].is_string());

    let list = format!("/v1/connections?health={}", expected.state);
    let own = tenant.get(&list).await;
    let of_all = get_as_operator(tenant.system(), &list).await;
    for list in [own, of_all] {
        let listed = list["connections"].as_array().expect("a list").iter();
        let ids: Vec<_> = listed.map(|connection| connection["id"].clone()).collect();
        assert_eq!(ids, [json!(connection)], "{list:#}");
    }
    health
}

/// Waits until the connection is healthy again.
async fn assert_recovers(tenant: &Tenant<'_>, connection: Uuid) {
    let expected = Expected {
        state: "healthy",
        reason: "up_to_date",
        kind: "none",
        who: "nobody",
        says: "on schedule",
    };
    assert_health(tenant, connection, expected).await;
}

pub(crate) async fn get_as_operator(system: &System, path: &str) -> Value {
    let request = system.client.get(format!("{}{path}", system.api));
    let response = request.bearer_auth(OPERATOR_TOKEN).send().await;
    let response = response.expect("an API response");
    assert!(response.status().is_success(), "{}", response.status());
    response.json().await.expect("JSON")
}

pub(crate) async fn fault(system: &System, rule: Value) {
    system.sim("faults", rule).await;
}

/// Polls with a fault.
async fn poll_with_fault(system: &System, tenant: &Tenant<'_>, rule: Value) {
    fault(system, rule).await;
    tenant.poll().await;
}

pub(crate) async fn act(system: &System, provider: &str, account: &str, action: &str) {
    let body = json!({ "account": account, "action": action });
    system.sim(&format!("{provider}/act"), body).await;
}

pub(crate) async fn execute(system: &System, statement: &'static str) {
    let done = sqlx::query(statement).execute(system.db.pool()).await;
    assert!(done.expect("executed").rows_affected() > 0, "{statement}");
}

pub(crate) fn small() -> tests::harness::SystemBuilder {
    System::with_fast_provider().simulator(|sim| (sim.accounts, sim.history) = (1, 5))
}

#[tokio::test(flavor = "multi_thread")]
async fn suspended_app_asks_the_team() {
    let system = small().start().await;
    let (account, tenant, connection) = system.connect_account("github").await;
    assert_recovers(&tenant, connection).await;
    act(&system, "github", &account, "installation.suspend").await;
    let expected = Expected {
        state: "action_required",
        reason: "suspended_at_provider",
        kind: "check_settings",
        who: "team_admin",
        says: "must end the suspension",
    };
    assert_health(&tenant, connection, expected).await;
    act(&system, "github", &account, "installation.unsuspend").await;
    assert_recovers(&tenant, connection).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uninstalled_app_asks_to_reconnect() {
    let system = small().start().await;
    let (account, tenant, connection) = system.connect_account("github").await;
    act(&system, "github", &account, "installation.deleted").await;
    let expected = Expected {
        state: "disconnected",
        reason: "removed_at_provider",
        kind: "reconnect",
        who: "team_admin",
        says: "was removed from",
    };
    let health = assert_health(&tenant, connection, expected).await;
    assert_eq!(health["action"]["url"], "/v1/connect/github");
}

#[tokio::test(flavor = "multi_thread")]
async fn denied_permission_names_streams_and_call() {
    let system = small().start().await;
    let (_, tenant, connection) = system.connect_account("github").await;
    let denied =
        json!({ "target": "request", "pattern": "GET /repos/*/issues", "effect": "forbidden" });
    poll_with_fault(&system, &tenant, denied).await;
    let expected = Expected {
        state: "degraded",
        reason: "permission_denied",
        kind: "check_settings",
        who: "team_admin",
        says: "denies permission to read a part of",
    };
    let health = assert_health(&tenant, connection, expected).await;
    let path = format!("/v1/connections/{connection}/streams?state=denied");
    let streams = tenant.get(&path).await;
    let stream = &streams["streams"][0];
    assert_eq!(stream["state"], "denied", "{streams:#}");
    // The sentence names the call of one of the denied streams.
    let sentence = health["explanation"].as_str().expect("a sentence");
    let mut denied = streams["streams"].as_array().expect("a list").iter();
    let is_named = denied.any(|stream| {
        let call = stream["error"]["operation"].as_str().expect("the call");
        sentence.contains(&format!("(call {call})"))
    });
    assert!(is_named, "{sentence}: {streams:#}");
    let detail = tenant.get(&format!("/v1/connections/{connection}")).await;
    assert_eq!(
        detail["streams"]["denied"],
        json!(streams["streams"].as_array().map(Vec::len)),
        "{detail:#}"
    );

    system.clear_faults().await;
    let denied = json!({ "target": "request", "pattern": "installation/repositories", "effect": "forbidden" });
    poll_with_fault(&system, &tenant, denied).await;
    let expected = Expected {
        state: "action_required",
        reason: "access_denied",
        kind: "check_settings",
        who: "team_admin",
        says: "denies permission to read",
    };
    assert_health(&tenant, connection, expected).await;
    system.clear_faults().await;
    tenant.poll().await;
    assert_recovers(&tenant, connection).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_scope_is_named_with_its_streams() {
    let system = System::with_fast_provider().start().await;
    let scope = "https://www.googleapis.com/auth/drive.readonly";
    let withheld = json!({ "withheld_scopes": [scope] });
    system.sim("google/settings", withheld).await;
    let (account, admin) = system.accounts_at("google_drive").await.remove(0);
    let tenant = system.tenant("Acme").await;
    let connection = tenant.connect_to("google_drive", &account, &admin).await;
    let expected = Expected {
        state: "degraded",
        reason: "scope_missing",
        kind: "grant_scope",
        who: "team_admin",
        says: scope,
    };
    let health = assert_health(&tenant, connection, expected).await;
    assert_eq!(health["action"]["url"], "/v1/connect/google_drive");
    let shown = tenant.get(&format!("/v1/connections/{connection}")).await;
    let contains = |list: &str| {
        let scopes = shown[list].as_array().expect("scopes");
        scopes.contains(&json!(scope))
    };
    assert!(
        contains("required_scopes") && !contains("scopes"),
        "{shown:#}"
    );
    let path = format!("/v1/connections/{connection}/streams?state=denied");
    let streams = tenant.get(&path).await;
    let stream = &streams["streams"][0];
    assert_eq!(stream["error"]["scope"], scope, "{streams:#}");
    assert_eq!(stream["required_scope"], scope, "{streams:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_token_asks_to_reconnect() {
    let system = small().start().await;
    let (account, tenant, connection) = system.connect_account("slack").await;
    fault(
        &system,
        json!({ "target": "delivery", "effect": "drop_silently" }),
    )
    .await;
    act(&system, "slack", &account, "app.uninstalled").await;
    tenant.poll().await;
    let expected = Expected {
        state: "action_required",
        reason: "grant_refused",
        kind: "reconnect",
        who: "team_admin",
        says: "no longer accepts the grant",
    };
    assert_health(&tenant, connection, expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rate_limit_says_until_when() {
    let system = small().start().await;
    let (_, tenant, connection) = system.connect_account("github").await;
    let limit = json!({
        "target": "request", "effect": "too_many_requests", "seconds": 600.0,
        "pattern": "installation/repositories",
    });
    poll_with_fault(&system, &tenant, limit).await;
    let expected = Expected {
        state: "degraded",
        reason: "rate_limited",
        kind: "wait",
        who: "nobody",
        says: "limits the rate of calls until 20",
    };
    let health = assert_health(&tenant, connection, expected).await;
    assert!(health["action"]["until"].is_string(), "{health:#}");
    let detail = tenant.get(&format!("/v1/connections/{connection}")).await;
    let streams = &detail["streams"];
    assert_eq!(streams["limited"], streams["total"], "{detail:#}");
    let path = format!("/v1/connections/{connection}/streams?limit=1");
    let listed = tenant.get(&path).await;
    assert_eq!(
        listed["streams"][0]["next_run_at"], health["action"]["until"],
        "{listed:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn provider_that_is_down_needs_no_person() {
    let system = small().start().await;
    let (_, tenant, connection) = system.connect_account("github").await;
    let down = json!({ "target": "request", "effect": "status", "status": 503 });
    poll_with_fault(&system, &tenant, down).await;
    let expected = Expected {
        state: "degraded",
        reason: "provider_unavailable",
        kind: "wait",
        who: "nobody",
        says: "is retried until it succeeds",
    };
    assert_health(&tenant, connection, expected).await;
    system.clear_faults().await;
    tenant.poll().await;
    assert_recovers(&tenant, connection).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spent_quota_says_when_it_returns() {
    let system = System::builder()
        .simulator(|sim| {
            (sim.accounts, sim.history) = (1, 2);
            sim.providers.github.repositories = 2;
        })
        .start()
        .await;
    let (_, tenant, connection) = system.connect_account("github").await;
    let spent = json!({ "target": "request", "effect": "primary_limit" });
    poll_with_fault(&system, &tenant, spent).await;
    let expected = Expected {
        state: "degraded",
        reason: "quota_spent",
        kind: "wait",
        who: "nobody",
        says: "quota of calls is used up until 20",
    };
    let health = assert_health(&tenant, connection, expected).await;
    assert!(health["action"]["until"].is_string(), "{health:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_crypto_key_asks_the_operator() {
    let mut system = small().workers(0).start().await;
    system.env.insert(
        "POBLYSH_CRYPTO_KEY".to_owned(),
        "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=".to_owned(),
    );
    system.start_worker().await;
    let (account, admin) = system.accounts_at("slack").await.remove(0);
    let tenant = system.tenant("Acme").await;
    let connection = tenant.connect_to("slack", &account, &admin).await;
    let expected = Expected {
        state: "action_required",
        reason: "credential_sealed",
        kind: "check_settings",
        who: "operator",
        says: "lacks the crypto key",
    };
    assert_health(&tenant, connection, expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_without_provider_settings_asks_operator() {
    let mut system = small().workers(0).start().await;
    system
        .env
        .retain(|name, _| !name.starts_with("POBLYSH_SLACK_"));
    system.start_worker().await;
    let (account, admin) = system.accounts_at("slack").await.remove(0);
    let tenant = system.tenant("Acme").await;
    let connection = tenant.connect_to("slack", &account, &admin).await;
    let expected = Expected {
        state: "action_required",
        reason: "provider_not_configured",
        kind: "check_settings",
        who: "operator",
        says: "lacks the settings of the provider's app",
    };
    assert_health(&tenant, connection, expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paused_connection_asks_no_person() {
    let system = small().start().await;
    let (_, tenant, connection) = system.connect_account("github").await;
    let path = format!("/v1/connections/{connection}");
    let pause = json!({ "status": "paused" });
    let paused = tenant.request(Method::PATCH, &path, Some(&pause)).await;
    let paused: Value = paused.json().await.expect("JSON");
    assert_eq!(paused["health"]["reason"], "paused", "{paused:#}");
    let expected = Expected {
        state: "paused",
        reason: "paused",
        kind: "none",
        who: "nobody",
        says: "is paused",
    };
    assert_health(&tenant, connection, expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn api_reports_late_reads_without_workers() {
    let system = small().workers(0).start().await;
    let (account, admin) = system.accounts().await.remove(0);
    let tenant = system.tenant("Acme").await;
    let connection = tenant.connect(&account, &admin).await;
    let expected = Expected {
        state: "backfilling",
        reason: "backfill_running",
        kind: "none",
        who: "nobody",
        says: "for the first time",
    };
    assert_health(&tenant, connection, expected).await;
    // As ten minutes and the review after them would.
    execute(
        &system,
        "UPDATE connections SET connected_at = now() - interval '11 minutes'",
    )
    .await;
    execute(
        &system,
        "UPDATE connection_routes SET health_review_at = now() - interval '31 seconds'",
    )
    .await;
    let expected = Expected {
        state: "degraded",
        reason: "sync_overdue",
        kind: "check_settings",
        who: "operator",
        says: "overdue",
    };
    assert_health(&tenant, connection, expected).await;
}
