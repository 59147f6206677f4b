//! Jobs write only while they hold their lease, and related rows in one transaction.

use serde_json::json;
use shared::telemetry::names::JOBS_TOTAL;
use tests::harness::{System, eventually};
use uuid::Uuid;

/// Moves the leases of all running jobs to another worker.
async fn take_over_jobs(system: &System) {
    let worker = Uuid::new_v4();
    for statement in [
        "INSERT INTO workers (id, expires_at) SELECT $1, now() + interval '1 hour'",
        "UPDATE jobs SET worker_id = $1, lease_token = nextval('job_lease_tokens') \
         WHERE state = 'running'",
    ] {
        let done = sqlx::query(statement)
            .bind(worker)
            .execute(system.db.pool())
            .await
            .expect("the query result");
        assert!(done.rows_affected() > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusal_after_lost_lease_changes_nothing() {
    for kind in ["sync_connection", "refresh_token"] {
        let system = System::with_fast_provider().start().await;
        let (account, admin) = system.accounts_at("jira").await.remove(0);
        let tenant = system.tenant("Acme").await;
        let connection = tenant.connect_to("jira", &account, &admin).await;
        system.drain().await;
        // Another job that needed the token would record the refusal under its own lease.
        sqlx::query("UPDATE connection_routes SET subscriptions_at = NULL")
            .execute(system.db.pool())
            .await
            .expect("the query result");
        system.drain().await;
        system.sim("jira/tokens", json!({ "revoke": admin })).await;
        let slow = json!({ "target": "request", "pattern": "POST /auth/oauth/token",
                           "effect": "slow", "seconds": 3.0 });
        system.sim("faults", slow).await;
        let attempts = async |ended: bool| {
            sqlx::query_scalar::<_, i64>(
                "SELECT count(*) FROM token_refresh_log WHERE (ended_at IS NOT NULL) = $1 \
                 AND attempted_at > (SELECT max(created_at) FROM connections)",
            )
            .bind(ended)
            .fetch_one(system.db.pool())
            .await
            .expect("the query result")
        };
        let before = attempts(true).await;
        let label = format!("kind=\"{kind}\"");
        let ended = async || system.metric(&system.api, JOBS_TOTAL, &label).await;
        let ended_before = ended().await;
        if kind == "refresh_token" {
            sqlx::query(
                "WITH soon AS (UPDATE credentials SET expires_at = now() + interval '2 minutes') \
                 UPDATE connection_routes SET refresh_at = now()",
            )
            .execute(system.db.pool())
            .await
            .expect("the query result");
        } else {
            tenant.poll().await;
        }
        eventually("the token is being refreshed", async || {
            attempts(false).await > 0
        })
        .await;
        take_over_jobs(&system).await;
        eventually("the refresh was refused", async || {
            attempts(true).await > before
        })
        .await;
        eventually("the job has ended", async || ended().await > ended_before).await;
        let path = format!("/v1/connections/{connection}");
        let shown = tenant.get(&path).await;
        assert_eq!(shown["status"], "active", "{kind}: {shown}");
        assert_eq!(shown["last_error"], json!(null), "{kind}: {shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_list_is_discarded_after_lost_lease() {
    let system = System::with_fast_provider().start().await;
    let (account, admin) = system.accounts_at("slack").await.remove(0);
    let tenant = system.tenant("Acme").await;
    let connection = tenant.connect_to("slack", &account, &admin).await;
    system.drain().await;
    let path = format!("/v1/connections/{connection}");
    let before = tenant.get_when_current(&path).await;
    let lost = json!({ "target": "delivery", "effect": "drop_silently" });
    system.sim("faults", lost).await;
    let new = json!({ "account": account, "action": "group.created" });
    let channel = system.sim("slack/act", new).await["object"]["channel"].clone();
    let slow = json!({ "target": "request", "pattern": "users.conversations",
                       "effect": "slow", "seconds": 3.0, "count": 1 });
    system.sim("faults", slow).await;
    let label = "kind=\"sync_connection\"";
    let ended = async || system.metric(&system.api, JOBS_TOTAL, label).await;
    let ended_before = ended().await;
    let body = json!({ "mode": "incremental" });
    tenant.post("/v1/sync/slack", &body).await;
    // The fault disappears when a request has matched it.
    eventually("the list is requested", async || {
        system.faults().await.len() == 1
    })
    .await;
    take_over_jobs(&system).await;
    eventually("the job has ended", async || ended().await > ended_before).await;
    let known: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM cursors WHERE resource_id = $1)")
            .bind(channel.as_str())
            .fetch_one(system.db.pool())
            .await
            .expect("the query result");
    assert!(!known, "{channel} was stored by a job without lease");
    let after = tenant.get(&path).await;
    for field in ["status", "last_sync_at", "last_error", "complete_through"] {
        assert_eq!(after[field], before[field], "{field}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn periodic_task_is_not_claimed_without_its_job() {
    let system = System::with_fast_provider().workers(0).start().await;
    sqlx::raw_sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF NEW.kind = 'apply_retention' THEN \
                 PERFORM nextval('job_lease_tokens'); RAISE EXCEPTION 'refused'; \
             END IF; RETURN NEW; END $$; \
         CREATE TRIGGER refuse BEFORE INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION refuse()",
    )
    .execute(system.db.pool())
    .await
    .expect("a trigger");
    system.start_worker().await;
    // Sequences are not rolled back, so they show the attempt.
    let tried = async || {
        sqlx::query_scalar::<_, bool>("SELECT is_called FROM job_lease_tokens")
            .fetch_one(system.db.pool())
            .await
            .expect("the query result")
    };
    eventually("the task was tried", tried).await;
    sqlx::raw_sql("DROP TRIGGER refuse ON jobs")
        .execute(system.db.pool())
        .await
        .expect("dropped");
    eventually("the task is done later", async || {
        sqlx::query_scalar::<_, bool>(
            "SELECT EXISTS (SELECT FROM job_history WHERE kind = 'apply_retention')",
        )
        .fetch_one(system.db.pool())
        .await
        .expect("the query result")
    })
    .await;
}
