//! Fairness: one tenant queues a hundred thousand jobs, another one at a time.

use std::sync::Arc;

use serde_json::json;
use tests::harness::{Endpoints, Load, Pace, System, Tenant, Webhooks, eventually};
use uuid::Uuid;

use super::{alone, setting};

/// Maximum time until a job starts, in milliseconds (p99).
const MAX_WAIT_MS: f64 = 250.0;

/// Queues a number of syncs of a connection.
async fn flood(system: &System, tenant: &Tenant<'_>, connection: Uuid, jobs: i64) {
    sqlx::query(
        "INSERT INTO jobs (tenant_id, id, kind, provider, connection_id, priority, payload) \
         SELECT $1, gen_random_uuid(), 'sync_connection', 'github', $2, 50, \
             '{\"kind\":\"sync_connection\",\"mode\":\"incremental\"}' \
         FROM generate_series(1, $3)",
    )
    .bind(tenant.id)
    .bind(connection)
    .bind(jobs)
    .execute(system.db.pool())
    .await
    .expect("queued");
    sqlx::raw_sql("ANALYZE jobs")
        .execute(system.db.pool())
        .await
        .expect("analyzed");
}

/// Milliseconds from the creation of each finished job of a kind to its start, sorted.
async fn waits(system: &System, tenant: &Tenant<'_>, kind: &str) -> Vec<f64> {
    sqlx::query_scalar(
        "SELECT (extract(epoch FROM started_at - created_at) * 1000)::float8 \
         FROM job_history WHERE tenant_id = $1 AND kind::text = $2 ORDER BY 1",
    )
    .bind(tenant.id)
    .bind(kind)
    .fetch_all(system.db.pool())
    .await
    .expect("the query result")
}

/// The 99th percentile.
fn p99_of(sorted: &[f64]) -> f64 {
    let at = (sorted.len() * 99).div_ceil(100).max(1);
    sorted[at - 1]
}

/// Runs a number of syncs, one after the other.
async fn sync_repeatedly(system: &System, tenant: &Tenant<'_>, connection: Uuid, times: u64) {
    for _ in 0..times {
        let path = format!("/v1/connections/{connection}/sync");
        let response = tenant.post(&path, &json!({ "mode": "incremental" })).await;
        let job: Uuid = response["job"]["id"]
            .as_str()
            .expect("an id")
            .parse()
            .expect("a uuid");
        eventually("the sync has ended", async || {
            let ended: i64 = sqlx::query_scalar("SELECT count(*) FROM job_history WHERE id = $1")
                .bind(job)
                .fetch_one(system.db.pool())
                .await
                .expect("the query result");
            ended == 1
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn single_job_starts_soon_beside_a_flood() {
    let _alone = alone().await;
    let jobs: i64 = setting("POBLYSH_FAULTS_JOBS", 100_000);
    let times = setting("POBLYSH_FAULTS_SINGLE_JOBS", 40);
    let system = System::with_fast_provider()
        .simulator(|sim| (sim.accounts, sim.providers.github.repositories) = (2, 1))
        .env("POBLYSH_POLL_INTERVAL_SECONDS", "3600")
        .out_of_process()
        .start()
        .await;
    let mut accounts = system.accounts().await;
    let (busy_account, admin) = accounts.remove(0);
    let busy = system.tenant("Busy").await;
    let connection = busy.connect(&busy_account, &admin).await;
    let (account, admin) = accounts.remove(0);
    let single = system.tenant("Single").await;
    let webhooks = Webhooks::prepare(&system, &single, (&account, &admin)).await;
    let own = single.get("/v1/connections").await["connections"][0]["id"]
        .as_str()
        .expect("an id")
        .parse()
        .expect("a uuid");
    system.drain().await;
    // Slow calls, so that the test measures the queue and not the processor.
    let slow = json!({ "target": "request", "pattern": "GET *", "effect": "slow",
                       "seconds": 0.3, "account": busy_account });
    system.sim("faults", slow).await;

    flood(&system, &busy, connection, jobs).await;
    sqlx::query("DELETE FROM job_history WHERE tenant_id = $1")
        .bind(single.id)
        .execute(system.db.pool())
        .await
        .expect("deleted");
    let load = Load::start(
        &Arc::new(webhooks),
        &Endpoints::only(&system.ingress),
        Pace::PerSecond(5),
    );
    sync_repeatedly(&system, &single, own, times).await;
    let record = load.stop().await;
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs WHERE tenant_id = $1")
        .bind(busy.id)
        .fetch_one(system.db.pool())
        .await
        .expect("the query result");
    assert!(
        left > jobs / 2,
        "the queue was emptied before the measurement: {left}"
    );
    assert_eq!(record.failed.len(), 0, "{:?}", record.failed);
    for kind in ["sync_connection", "process_deliveries"] {
        let waits = waits(&system, &single, kind).await;
        let (p50, p99) = (waits[waits.len() / 2], p99_of(&waits));
        eprintln!(
            "fairness: {} jobs ({kind}) beside {left}: started after {p50:.0} ms (p50), {p99:.0} ms (p99)",
            waits.len()
        );
        assert!(p99 <= MAX_WAIT_MS, "{kind}: {waits:?}");
    }
}
