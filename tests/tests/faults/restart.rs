//! A crash and restart of Postgres under load.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tests::harness::{
    Cluster, Endpoints, FeedReader, Load, Pace, Process, System, Tenant, TestDb, Webhooks,
    eventually, eventually_within,
};

use super::{alone, assert_guarantees, can_start_servers, setting};

/// Maximum time until the service works again.
const MAX_RECOVERY: Duration = Duration::from_secs(5);

async fn status(system: &System, url: String) -> u16 {
    let response = system.client.get(url).send().await;
    response.expect("the process responds").status().as_u16()
}

/// Asserts that all processes are alive and not ready.
async fn assert_alive_and_unready(system: &System) {
    let addresses = {
        let processes = system.processes().await;
        [Process::Api, Process::Ingress, Process::Worker].map(|one| processes.addresses(one)[0])
    };
    for address in addresses {
        eventually("unready", async || {
            status(system, format!("http://{address}/readyz")).await == 503
        })
        .await;
        assert_eq!(status(system, format!("http://{address}/livez")).await, 200);
    }
}

/// Waits until a delivery received after `back` is acknowledged and readable in the feed.
async fn wait_until_serving(system: &System, tenant: &Tenant<'_>, load: &Load, back: Instant) {
    eventually_within(MAX_RECOVERY * 3, "the service works again", async || {
        let record = load.record();
        let fresh = record.acknowledged.iter().find(|(at, _)| *at > back);
        let Some((_, number)) = fresh else {
            return false;
        };
        let stored: Option<String> = sqlx::query_scalar(
            "SELECT id::text FROM signals WHERE tenant_id = $1 AND dedupe_key = $2",
        )
        .bind(tenant.id)
        .bind(tests::harness::webhooks::dedupe_key_of(*number))
        .fetch_optional(system.db.pool())
        .await
        .unwrap_or_default();
        let Some(id) = stored else { return false };
        let path = format!("/v1/signals/{id}");
        let response = tenant.request(reqwest::Method::GET, &path, None).await;
        let feed = tenant
            .request(reqwest::Method::GET, "/v1/signals", None)
            .await;
        response.status().is_success() && feed.status().is_success()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_crash_ends_no_process_and_loses_nothing() {
    let _alone = alone().await;
    if !can_start_servers("restart") {
        return;
    }
    let rounds = setting("POBLYSH_FAULTS_RESTARTS", 2);
    let cluster = Cluster::start().await;
    let system = System::with_fast_provider()
        .database(TestDb::create_in(&cluster).await)
        .out_of_process()
        .start()
        .await;
    let tenant = system.tenant("Acme").await;
    let (account, admin) = system.accounts().await.remove(0);
    let webhooks = Webhooks::prepare(&system, &tenant, (&account, &admin)).await;
    let reader = FeedReader::start(&tenant, &Endpoints::only(&system.api));
    let endpoints = Endpoints::only(&system.ingress);
    let load = Load::start(&Arc::new(webhooks), &endpoints, Pace::PerSecond(100));
    for round in 1..=rounds {
        let before = load.acknowledged();
        eventually("the load is taken", async || {
            load.acknowledged() > before + 50
        })
        .await;
        cluster.stop_immediately().await;
        let rejected = load.record().rejected;
        assert_alive_and_unready(&system).await;
        eventually("deliveries are rejected", async || {
            load.record().rejected > rejected
        })
        .await;
        cluster.start_server().await;
        let back = Instant::now();
        wait_until_serving(&system, &tenant, &load, back).await;
        let took = back.elapsed();
        eprintln!("restart {round}: the service worked again after {took:?}");
        assert!(took < MAX_RECOVERY, "recovery took {took:?}");
    }
    assert_eq!(
        system.processes().await.exited(),
        vec![],
        "a process exited"
    );
    let record = load.stop().await;
    assert_eq!(record.failed.len(), 0, "{:?}", record.failed);
    eprintln!(
        "restart: {} acknowledged, {} rejected with Retry-After",
        record.acknowledged.len(),
        record.rejected
    );
    assert_guarantees(&system, &tenant, &record, reader).await;
}
