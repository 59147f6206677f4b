//! The volume of Postgres runs full and later has space again.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use tests::harness::{
    Cluster, Endpoints, FeedReader, Load, Pace, System, Tenant, TestDb, Webhooks, eventually,
};
use uuid::Uuid;

use super::{alone, assert_guarantees, can_start_servers, setting, skip};

/// Space for the cluster and little more.
const VOLUME_MIB: u32 = 160;

/// Fills the volume completely.
fn fill(data: &Path) -> PathBuf {
    let path = data.join("ballast");
    let mut file = File::create(&path).expect("a file");
    // Smaller and smaller blocks, until not even a page fits.
    for block in [1 << 20, 1 << 16, 1 << 12] {
        let zeros = vec![0; block];
        while file.write_all(&zeros).is_ok() {}
    }
    path
}

/// Asserts that the API rejects writes with 503 and `Retry-After`.
async fn assert_writes_rejected(system: &System, tenant: &Tenant<'_>, connection: &str) {
    let path = format!("/v1/connections/{connection}/sync");
    let mut seen = Vec::new();
    eventually("the API rejects writes", async || {
        let body = json!({ "mode": "incremental" });
        let response = tenant
            .request(reqwest::Method::POST, &path, Some(&body))
            .await;
        let status = response.status().as_u16();
        seen.push((status, response.headers().contains_key("retry-after")));
        status == 503
    })
    .await;
    let wrong: Vec<_> = seen
        .iter()
        .filter(|(status, has_retry_after)| *status >= 500 && (*status != 503 || !has_retry_after))
        .collect();
    assert!(wrong.is_empty(), "{seen:?}");
    assert_eq!(
        system.processes().await.exited(),
        vec![],
        "a process exited"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn full_disk_rejects_writes_and_recovers() {
    let _alone = alone().await;
    if !can_start_servers("disk full") {
        return;
    }
    if !Cluster::can_mount_volume() {
        return skip("disk full", "a small volume needs root");
    }
    let rounds = setting("POBLYSH_FAULTS_DISK_ROUNDS", 1);
    let cluster = Cluster::start_on_volume(VOLUME_MIB).await;
    let system = System::with_fast_provider()
        .database(TestDb::create_in(&cluster).await)
        .out_of_process()
        .start()
        .await;
    let tenant = system.tenant("Acme").await;
    let (account, admin) = system.accounts().await.remove(0);
    let webhooks = Webhooks::prepare(&system, &tenant, (&account, &admin)).await;
    let connections = tenant.get("/v1/connections").await;
    let connection = connections["connections"][0]["id"].as_str().expect("an id");
    assert!(connection.parse::<Uuid>().is_ok());
    let reader = FeedReader::start(&tenant, &Endpoints::only(&system.api));
    let endpoints = Endpoints::only(&system.ingress);
    let load = Load::start(&Arc::new(webhooks), &endpoints, Pace::PerSecond(60));
    for _ in 0..rounds {
        let before = load.acknowledged();
        eventually("the load is taken", async || {
            load.acknowledged() > before + 50
        })
        .await;
        let rejected = load.record().rejected;
        let ballast = fill(&cluster.data());
        eventually("deliveries are rejected", async || {
            load.record().rejected > rejected + 50
        })
        .await;
        assert_writes_rejected(&system, &tenant, connection).await;
        std::fs::remove_file(ballast).expect("the ballast is removed");
        let freed = Instant::now();
        // A server that could not write its WAL has stopped, and the operator restarts it.
        let stopped = !cluster.is_reachable().await;
        if stopped {
            cluster.try_start_server().await;
        }
        let before = load.acknowledged();
        eventually("deliveries are acknowledged again", async || {
            load.acknowledged() > before + 50
        })
        .await;
        eprintln!(
            "disk full: deliveries acknowledged again after {:?}; Postgres had {}",
            freed.elapsed(),
            if stopped { "stopped" } else { "continued" }
        );
    }
    assert_eq!(
        system.processes().await.exited(),
        vec![],
        "a process exited"
    );
    let record = load.stop().await;
    assert_eq!(record.failed.len(), 0, "{:?}", record.failed);
    eprintln!(
        "disk full: {} acknowledged, {} rejected with Retry-After",
        record.acknowledged.len(),
        record.rejected
    );
    assert_guarantees(&system, &tenant, &record, reader).await;
}
