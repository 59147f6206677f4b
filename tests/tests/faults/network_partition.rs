//! A worker that loses Postgres while another worker rescues its jobs.
//!
//! The partition begins during provider calls: once its sessions are closed, once all packets are
//! lost. Its late writes must have no effect, and each change at a provider must happen once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::harness::{
    Endpoints, FeedReader, Load, Pace, Process, ProcessOverrides, System, Tenant, Webhooks,
    eventually, free_address,
};

use super::{alone, assert_no_job_finished_twice, assert_nothing_lost, setting};

#[derive(Debug, Clone, Copy)]
enum Partition {
    /// Every session is closed.
    Closed,
    /// All packets are lost.
    Silent,
}

/// The lease tokens of the running provider calls: a page from GitHub and a webhook at Jira.
async fn running_leases(system: &System) -> Vec<i64> {
    sqlx::query_scalar(
        "SELECT lease_token FROM jobs WHERE state = 'running' AND (kind, provider) \
         IN (('sync_connection', 'github'), ('reconcile_subscriptions', 'jira'))",
    )
    .fetch_all(system.db.pool())
    .await
    .expect("the query result")
}

/// Whether the jobs of all these leases are rescued or finished.
async fn are_rescued(system: &System, held: &[i64]) -> bool {
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs WHERE lease_token = ANY ($1)")
        .bind(held)
        .fetch_one(system.db.pool())
        .await
        .expect("the query result");
    left == 0
}

/// Creates connections at two providers whose first calls are slow.
async fn connect_slowly(system: &System, tenant: &Tenant<'_>) -> (String, String) {
    for pattern in ["GET /repos/*", "POST*/rest/api/3/webhook"] {
        let slow = json!({ "target": "request", "pattern": pattern, "effect": "slow",
                           "seconds": 25, "count": 1 });
        system.sim("faults", slow).await;
    }
    let (github, admin) = system.accounts().await.remove(1);
    tenant.connect(&github, &admin).await;
    let (jira, admin) = system.accounts_at("jira").await.remove(0);
    tenant.connect_to("jira", &jira, &admin).await;
    (github, jira)
}

async fn webhooks_at_jira(system: &System) -> usize {
    let url = format!("{}/_sim/jira/webhooks", system.simulator.base_url());
    let response = system.client.get(url).send().await.expect("a response");
    let body: Value = response.json().await.expect("JSON");
    body["webhooks"].as_array().expect("a list").len()
}

async fn run_partition(partition: Partition) {
    let duration = Duration::from_secs(setting("POBLYSH_FAULTS_CUT_SECONDS", 0));
    let system = System::with_fast_provider()
        .simulator(|sim| {
            (sim.accounts, sim.providers.github.repositories, sim.history) = (2, 2, 30);
        })
        .workers(0)
        .out_of_process()
        .start()
        .await;
    let through = ProcessOverrides {
        env: vec![(
            "POBLYSH_WORKER_DATABASE_URL".to_owned(),
            system.proxy.through(system.db.url()),
        )],
        ..ProcessOverrides::default()
    };
    let first = free_address();
    system
        .processes()
        .await
        .start_with(Process::Worker, first, &through)
        .await;
    let tenant = system.tenant("Acme").await;
    let (account, admin) = system.accounts().await.remove(0);
    let webhooks = Webhooks::prepare(&system, &tenant, (&account, &admin)).await;
    system.drain().await;
    let reader = FeedReader::start(&tenant, &Endpoints::only(&system.api));
    let endpoints = Endpoints::only(&system.ingress);
    let load = Load::start(&Arc::new(webhooks), &endpoints, Pace::PerSecond(40));
    let other = system.tenant("Globex").await;
    let (github, jira) = connect_slowly(&system, &other).await;
    let mut held = Vec::new();
    eventually("the first worker waits for both providers", async || {
        held = running_leases(&system).await;
        held.len() == 2
    })
    .await;
    system
        .processes()
        .await
        .start(Process::Worker, free_address())
        .await;
    let began = Instant::now();
    match partition {
        Partition::Closed => system.proxy.cut(),
        Partition::Silent => system.proxy.freeze(),
    }
    eventually("the other worker has taken over", async || {
        are_rescued(&system, &held).await
    })
    .await;
    let elapsed = began.elapsed();
    tokio::time::sleep(duration.saturating_sub(elapsed)).await;
    system.proxy.restore();
    eventually("the first worker is back", async || {
        let url = format!("http://{first}/readyz");
        let response = system.client.get(url).send().await;
        response.is_ok_and(|response| response.status().is_success())
    })
    .await;
    eprintln!("partition ({partition:?}): the jobs were rescued after {elapsed:?}");
    assert!(elapsed < Duration::from_secs(20), "{elapsed:?}");
    let record = load.stop().await;
    assert_nothing_lost(&system, &tenant, &record.keys()).await;
    assert_no_job_finished_twice(&system).await;
    other.assert_equals_ledgers(&[&github, &jira]).await;
    assert_eq!(
        webhooks_at_jira(&system).await,
        1,
        "the webhook was created twice"
    );
    reader.assert_read_every_signal(&tenant).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_with_closed_sessions_has_no_second_effect() {
    let _alone = alone().await;
    run_partition(Partition::Closed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_partition_has_no_second_effect() {
    let _alone = alone().await;
    run_partition(Partition::Silent).await;
}
