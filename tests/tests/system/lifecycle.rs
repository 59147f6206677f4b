//! Lifecycle of a grant: suspended, removed, installed again, approved later.

use reqwest::Method;
use serde_json::json;
use sqlx::Row;
use tests::harness::{System, eventually};
use uuid::Uuid;

async fn act(system: &System, account: &str, action: &str) {
    system
        .sim(
            "github/act",
            json!({ "account": account, "action": action }),
        )
        .await;
}

async fn status(system: &System, connection: Uuid) -> String {
    sqlx::query("SELECT status::text FROM connections WHERE id = $1")
        .bind(connection)
        .fetch_one(system.db.pool())
        .await
        .expect("the connection")
        .get("status")
}

async fn wait_for_status(system: &System, connection: Uuid, expected: &str) {
    eventually(expected, async || {
        status(system, connection).await == expected
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn suspended_installation_resumes_without_gap() {
    let system = System::with_fast_provider().start().await;
    let (account, tenant, connection) = system.connect_account("github").await;
    act(&system, &account, "installation.suspend").await;
    wait_for_status(&system, connection, "suspended").await;
    system
        .sim(
            "github/generate",
            json!({ "count": 40, "account": account }),
        )
        .await;
    act(&system, &account, "installation.unsuspend").await;
    wait_for_status(&system, connection, "active").await;
    tenant.assert_equals_ledger_after_poll(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn delivery_of_suspended_account_triggers_probe_and_sync() {
    let system = System::with_fast_provider().start().await;
    let (account, tenant, connection) = system.connect_account("github").await;
    act(&system, &account, "installation.suspend").await;
    wait_for_status(&system, connection, "suspended").await;
    // The event that ends the suspension is lost.
    let lost = json!({ "target": "delivery", "pattern": "installation.unsuspend",
                       "effect": "drop_silently", "count": 1 });
    system.sim("faults", lost).await;
    act(&system, &account, "installation.unsuspend").await;
    act(&system, &account, "issues.opened").await;
    wait_for_status(&system, connection, "active").await;
    tenant.assert_equals_ledger_after_poll(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn removed_installation_ends_connection_and_deletes_tokens() {
    let system = System::with_fast_provider().start().await;
    let (account, admin) = system.accounts().await.remove(0);
    let tenant = system.tenant("Acme").await;
    let connection = tenant.connect(&account, &admin).await;
    system.drain().await;
    act(&system, &account, "installation.deleted").await;
    wait_for_status(&system, connection, "disconnected").await;
    let tokens: i64 = sqlx::query_scalar("SELECT count(*) FROM credentials")
        .fetch_one(system.db.pool())
        .await
        .expect("the query result");
    assert_eq!(tokens, 0);
    // After a new installation, an administrator must connect again to resume the connection.
    system
        .sim(
            "github/act",
            json!({ "account": account, "action": "installation.created" }),
        )
        .await;
    system
        .sim(
            "github/generate",
            json!({ "count": 30, "account": account }),
        )
        .await;
    system.drain().await;
    assert_eq!(status(&system, connection).await, "disconnected");
    assert_eq!(tenant.connect(&account, &admin).await, connection);
    tenant.assert_equals_ledger_after_poll(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unmatched_deliveries_wait_for_their_connection() {
    let system = System::with_fast_provider().start().await;
    let (account, admin) = system.accounts().await.remove(0);
    act(&system, &account, "installation.created").await;
    system
        .sim(
            "github/generate",
            json!({ "count": 60, "account": account }),
        )
        .await;
    system.drain().await;
    let unmatched: i64 =
        sqlx::query_scalar("SELECT count(*) FROM deliveries WHERE outcome = 'unmatched'")
            .fetch_one(system.db.pool())
            .await
            .expect("the query result");
    assert!(unmatched > 0, "unmatched deliveries are kept");
    let tenant = system.tenant("Acme").await;
    tenant.connect(&account, &admin).await;
    eventually("the deliveries are rematched", async || {
        sqlx::query_scalar::<_, i64>("SELECT count(*) FROM deliveries WHERE outcome = 'unmatched'")
            .fetch_one(system.db.pool())
            .await
            .expect("the query result")
            == 0
    })
    .await;
    tenant.assert_equals_ledger_after_poll(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn disconnecting_erases_connection_on_both_sides() {
    let system = System::with_fast_provider().start().await;
    let (_, tenant, connection) = system.connect_account("github").await;
    let path = format!("/v1/connections/{connection}");
    for _ in 0..2 {
        let response = tenant.request(Method::DELETE, &path, None).await;
        assert_eq!(response.status().as_u16(), 204);
    }
    assert_eq!(status(&system, connection).await, "disconnected");
    let left: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM credentials) + (SELECT count(*) FROM cursors) \
              + (SELECT count(*) FROM connection_routes)",
    )
    .fetch_one(system.db.pool())
    .await
    .expect("the query result");
    assert_eq!(left, 0);
}

/// Jobs lock their own row before their connection's.
#[tokio::test(flavor = "multi_thread")]
async fn disconnecting_waits_for_running_job_without_deadlock() {
    let system = System::with_fast_provider().start().await;
    let (_, tenant, connection) = system.connect_account("github").await;
    let slow = json!({ "target": "request", "pattern": "GET ", "effect": "slow", "seconds": 30 });
    system.sim("faults", slow).await;
    tenant.poll().await;
    let mut job = system.db.pool().begin().await.expect("the query result");
    eventually("a run holds its job", async || {
        sqlx::query("SELECT FROM jobs WHERE connection_id = $1 AND state = 'running' FOR SHARE")
            .bind(connection)
            .fetch_optional(&mut *job)
            .await
            .expect("the query result")
            .is_some()
    })
    .await;
    let path = format!("/v1/connections/{connection}");
    let disconnected = tenant.request(Method::DELETE, &path, None);
    let meanwhile = async {
        eventually("the request waits for the job", async || {
            sqlx::query_scalar(
                "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() \
                     AND application_name = 'poblysh_api' AND wait_event_type = 'Lock')",
            )
            .fetch_one(system.db.pool())
            .await
            .expect("the query result")
        })
        .await;
        sqlx::query("UPDATE connections SET missed_count = missed_count WHERE id = $1")
            .bind(connection)
            .execute(&mut *job)
            .await
            .expect("the run notes its progress");
        job.commit().await.expect("the query result");
    };
    let (response, ()) = tokio::join!(disconnected, meanwhile);
    assert_eq!(response.status().as_u16(), 204);
    assert_eq!(status(&system, connection).await, "disconnected");
}

#[tokio::test(flavor = "multi_thread")]
async fn approved_installation_names_its_account_and_connects_nothing() {
    // One session for LISTEN and one for queries: no code needs two at a time.
    let system = System::with_fast_provider()
        .env("POBLYSH_DATABASE_MAX_SESSIONS", "2")
        .start()
        .await;
    let url = format!("{}/_sim/github/accounts", system.simulator.base_url());
    let accounts: serde_json::Value = system
        .client
        .get(url)
        .send()
        .await
        .expect("answers")
        .json()
        .await
        .expect("JSON");
    let account = &accounts["accounts"][0];
    let login = account["login"].as_str().expect("a login");
    let admin = account["admin"].as_str().expect("a login");
    let member = account["members"]
        .as_array()
        .expect("members")
        .iter()
        .filter_map(|member| member.as_str().or_else(|| member["login"].as_str()))
        .find(|member| *member != admin)
        .expect("a member who is no owner");
    let tenant = system.tenant("Acme").await;
    let connection = tenant.connect(login, member).await;
    assert_eq!(status(&system, connection).await, "pending");
    act(&system, login, "installation.approved").await;
    let path = format!("/v1/connections/{connection}");
    eventually("the account is named", async || {
        tenant.get(&path).await["approval"]["account_name"] == *login
    })
    .await;
    // The owner who approved the installation has not seen the team's name.
    assert_eq!(status(&system, connection).await, "pending");
}

#[tokio::test(flavor = "multi_thread")]
async fn successful_probe_lists_streams_once() {
    let system = System::with_fast_provider().start().await;
    let (account, tenant, connection) = system.connect_account("github").await;
    act(&system, &account, "installation.suspend").await;
    wait_for_status(&system, connection, "suspended").await;
    system.drain().await;
    let runs = async || {
        sqlx::query_scalar::<_, i64>(
            "SELECT count(*) FROM job_history \
             WHERE kind = 'sync_connection' AND state = 'succeeded'",
        )
        .fetch_one(system.db.pool())
        .await
        .expect("the query result")
    };
    let before = runs().await;
    let url = format!("{}/_sim/stats", system.simulator.base_url());
    let reset = system.client.delete(&url).send().await;
    assert!(reset.expect("a response").status().is_success());
    let lost = json!({ "target": "delivery", "effect": "drop_silently" });
    system.sim("faults", lost).await;
    act(&system, &account, "installation.unsuspend").await;
    act(&system, &account, "issues.opened").await;
    sqlx::query("UPDATE connection_routes SET probe_at = now()")
        .execute(system.db.pool())
        .await
        .expect("due");
    wait_for_status(&system, connection, "active").await;
    system.drain().await;
    let stats = system.client.get(&url).send().await.expect("a response");
    let stats: serde_json::Value = stats.json().await.expect("JSON");
    let listed: u64 = stats["routes"]
        .as_object()
        .expect("routes")
        .iter()
        .filter(|(route, _)| route.ends_with("/installation/repositories"))
        .flat_map(|(_, counts)| counts.as_object().expect("counts").values())
        .filter_map(serde_json::Value::as_u64)
        .sum();
    assert_eq!(
        i64::try_from(listed),
        Ok(runs().await - before),
        "{stats:#}"
    );
    tenant.assert_equals_ledger_after_poll(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paused_connection_stays_paused_after_a_suspension() {
    let system = System::with_fast_provider().start().await;
    let (account, tenant, connection) = system.connect_account("github").await;
    let path = format!("/v1/connections/{connection}");
    let pause = json!({ "status": "paused" });
    let response = tenant.request(Method::PATCH, &path, Some(&pause)).await;
    assert_eq!(response.status().as_u16(), 200);
    for action in ["installation.suspend", "installation.unsuspend"] {
        act(&system, &account, action).await;
        system.drain().await;
        assert_eq!(status(&system, connection).await, "paused", "{action}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusal_of_older_grant_keeps_new_one() {
    let system = System::with_fast_provider().start().await;
    let (account, tenant, connection) = system.connect_account("slack").await;
    let drop_deliveries = json!({ "target": "delivery", "effect": "drop_silently" });
    system.sim("faults", drop_deliveries).await;
    system
        .sim(
            "slack/act",
            json!({ "account": account, "action": "app.uninstalled" }),
        )
        .await;
    for (given, expected) in [("'1 hour'", "active"), ("'-1 hour'", "needs_reauth")] {
        // Simulates that the account was reconnected while the job was running.
        let statement = format!("UPDATE connections SET connected_at = now() + interval {given}");
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .execute(system.db.pool())
            .await
            .expect("the query result");
        tenant.poll().await;
        system.drain().await;
        assert_eq!(status(&system, connection).await, expected);
    }
}
