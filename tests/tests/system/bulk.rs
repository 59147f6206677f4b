//! Bulk actions: each matching job or delivery once, also when the worker is killed.

use std::time::Duration;

use serde_json::{Value, json};
use tests::harness::{Process, System, Tenant, eventually, eventually_within};
use uuid::Uuid;

use crate::health::{act, small};

const JOBS: &str = "/v1/jobs/bulk";
const DELIVERIES: &str = "/v1/webhook-deliveries/bulk";

/// Inserts jobs that succeed without a call: a refresh of no connection.
async fn insert_jobs(system: &System, tenant: &Tenant<'_>, statement: &'static str, count: i32) {
    sqlx::query(statement)
        .bind(tenant.id)
        .bind(count)
        .execute(system.db.pool())
        .await
        .expect("the jobs are stored");
}

const DEAD: &str = "INSERT INTO job_history (tenant_id, id, kind, provider, state, priority, \
        attempts, max_attempts, payload, created_at) \
    SELECT $1, (lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint - n), 12, '0') \
            || '70008' || lpad(to_hex(n), 15, '0'))::uuid, \
        'refresh_token', 'github', 'dead', 10, 3, 3, '{\"kind\":\"refresh_token\"}', now() \
    FROM generate_series(1, $2) n";
const TOMORROW: &str = "INSERT INTO jobs (tenant_id, id, kind, provider, priority, payload, run_at) \
    SELECT $1, (lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint - n), 12, '0') \
            || '70008' || lpad(to_hex(n), 15, '0'))::uuid, \
        'refresh_token', 'github', 10, '{\"kind\":\"refresh_token\"}', now() + interval '1 day' \
    FROM generate_series(1, $2) n";

/// Waits until a job has this property, and returns it.
async fn wait_for(tenant: &Tenant<'_>, id: &Value, has_property: impl Fn(&Value) -> bool) -> Value {
    let path = format!("/v1/jobs/{}", id.as_str().expect("an id"));
    let mut job = Value::Null;
    eventually_within(Duration::from_mins(3), "the bulk action", async || {
        job = tenant.get(&path).await;
        has_property(&job)
    })
    .await;
    job
}

async fn wait_for_success(tenant: &Tenant<'_>, id: &Value) -> Value {
    let job = wait_for(tenant, id, |job| job["finished_at"].is_string()).await;
    assert_eq!(job["state"], "succeeded", "{job:#}");
    job
}

/// Counts the retries of each dead job.
async fn retries(system: &System, tenant: Uuid) -> Vec<i64> {
    sqlx::query_scalar(
        "SELECT count(*) FROM ( \
             SELECT cursor_window FROM jobs WHERE tenant_id = $1 \
             UNION ALL SELECT cursor_window FROM job_history WHERE tenant_id = $1 \
         ) j WHERE cursor_window LIKE 'retry:%' GROUP BY cursor_window ORDER BY 1 DESC",
    )
    .bind(tenant)
    .fetch_all(system.db.pool())
    .await
    .expect("counted")
}

#[tokio::test(flavor = "multi_thread")]
async fn replay_processes_matching_deliveries_without_duplicates() {
    let system = small().start().await;
    let (account, tenant, connection) = system.connect_account("github").await;
    for _ in 0..3 {
        act(&system, "github", &account, "issues.opened").await;
    }
    system.drain().await;
    let filter = json!({ "connection_id": connection, "outcome": "processed" });
    let preview = json!({ "action": "replay", "filter": filter, "dry_run": true });
    let matched = tenant.post(DELIVERIES, &preview).await["matched"].clone();
    assert!(matched.as_i64() >= Some(3), "{matched}");
    let before: Option<String> = last_processed_at(&system).await;
    let replay = json!({ "action": "replay", "filter": filter });
    let started = tenant.post(DELIVERIES, &replay).await;
    let job = wait_for_success(&tenant, &started["job"]["id"]).await;
    let expected = json!({ "matched": matched, "done": matched, "failed": 0 });
    assert_eq!(job["progress"], expected, "{job:#}");
    system.drain().await;
    let again = tenant.post(DELIVERIES, &preview).await["matched"].clone();
    assert_eq!(again, matched, "all are processed again");
    assert!(last_processed_at(&system).await > before);
    tenant.assert_equals_ledger(&account).await;
}

async fn last_processed_at(system: &System) -> Option<String> {
    sqlx::query_scalar("SELECT min(processed_at)::text FROM deliveries WHERE outcome = 'processed'")
        .fetch_one(system.db.pool())
        .await
        .expect("a time")
}

#[tokio::test(flavor = "multi_thread")]
async fn cancellation_leaves_other_tenants_jobs() {
    let system = small().start().await;
    let (tenant, other) = (system.tenant("Acme").await, system.tenant("Other").await);
    for tenant in [&tenant, &other] {
        insert_jobs(&system, tenant, TOMORROW, 120).await;
    }
    let cancel = json!({ "action": "cancel", "filter": { "kind": "refresh_token" } });
    let started = tenant.post(JOBS, &cancel).await;
    let job = wait_for_success(&tenant, &started["job"]["id"]).await;
    let expected = json!({ "matched": 120, "done": 120, "failed": 0 });
    assert_eq!(job["progress"], expected, "{job:#}");
    for (tenant, state, count) in [(&tenant, "cancelled", 120), (&other, "queued", 120)] {
        let list = tenant
            .get(&format!("/v1/jobs?state={state}&limit=200"))
            .await;
        assert_eq!(
            list["jobs"].as_array().map(Vec::len),
            Some(count),
            "{state}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_worker_continues_bulk_retry_without_repeating() {
    const JOBS_TO_RETRY: i32 = 3_000;

    let system = System::with_fast_provider()
        .simulator(|sim| (sim.accounts, sim.history) = (1, 1))
        .out_of_process()
        .start()
        .await;
    let tenant = system.tenant("Acme").await;
    insert_jobs(&system, &tenant, DEAD, JOBS_TO_RETRY).await;
    let retry = json!({ "action": "retry", "filter": {} });
    let started = tenant.post(JOBS, &retry).await;
    let id = &started["job"]["id"];
    let has_begun = |job: &Value| job["progress"]["done"].as_i64() >= Some(100);
    let job = wait_for(&tenant, id, has_begun).await;
    let done = job["progress"]["done"].as_i64();
    assert!(done < Some(3_000), "it is killed before its end: {job:#}");
    system
        .processes()
        .await
        .kill_and_restart(Process::Worker)
        .await;
    let job = wait_for_success(&tenant, id).await;
    let expected = json!({ "matched": JOBS_TO_RETRY, "done": JOBS_TO_RETRY, "failed": 0 });
    assert_eq!(job["progress"], expected, "{job:#}");
    let retries = retries(&system, tenant.id).await;
    assert_eq!(retries.len(), 3_000, "every dead job is retried");
    assert_eq!(retries.first(), Some(&1), "no job is retried twice");
    eventually("the retries have run", async || {
        let queued = tenant.get("/v1/jobs?state=queued&limit=1").await;
        queued["jobs"] == json!([])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_jobs_count_as_failed() {
    let system = small().start().await;
    let tenant = system.tenant("Acme").await;
    insert_jobs(&system, &tenant, DEAD, 4).await;
    // As another release would have written it.
    sqlx::query(
        "UPDATE job_history SET payload = '{\"kind\":\"another\"}' WHERE id IN \
             (SELECT id FROM job_history WHERE tenant_id = $1 AND state = 'dead' LIMIT 1)",
    )
    .bind(tenant.id)
    .execute(system.db.pool())
    .await
    .expect("changed");
    let retry = json!({ "action": "retry", "filter": { "provider": "github" } });
    let started = tenant.post(JOBS, &retry).await;
    let job = wait_for_success(&tenant, &started["job"]["id"]).await;
    let expected = json!({ "matched": 4, "done": 3, "failed": 1 });
    assert_eq!(job["progress"], expected, "{job:#}");
    // Its state is running or finished, so the same request is another job.
    let again = tenant.post(JOBS, &retry).await;
    assert_ne!(again["job"]["id"], started["job"]["id"]);
}
