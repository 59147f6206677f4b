//! The volume of Postgres runs full, and is made room on.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use tests::harness::{
    Cluster, Doors, Follower, Load, Pace, System, Tenant, TestDb, Webhooks, eventually,
};
use uuid::Uuid;

use super::{alone, assert_kept, can_start_servers, setting, skip};

/// Room for the cluster and little more.
const VOLUME_MIB: u32 = 160;

/// Fills the volume to its last byte.
fn fill(data: &Path) -> PathBuf {
    let path = data.join("ballast");
    let mut file = File::create(&path).expect("a file");
    // Smaller and smaller pieces, until not even a page fits.
    for piece in [1 << 20, 1 << 16, 1 << 12] {
        let zeros = vec![0; piece];
        while file.write_all(&zeros).is_ok() {}
    }
    path
}

/// Writes are refused with an answer that a client can act on.
async fn assert_refused(system: &System, tenant: &Tenant<'_>, connection: &str) {
    let path = format!("/v1/connections/{connection}/sync");
    let mut seen = Vec::new();
    eventually("the API says so, too", async || {
        let body = json!({ "mode": "incremental" });
        let answer = tenant
            .request(reqwest::Method::POST, &path, Some(&body))
            .await;
        let status = answer.status().as_u16();
        seen.push((status, answer.headers().contains_key("retry-after")));
        status == 503
    })
    .await;
    let wrong: Vec<_> = seen
        .iter()
        .filter(|(status, again)| *status >= 500 && (*status != 503 || !again))
        .collect();
    assert!(wrong.is_empty(), "{seen:?}");
    assert_eq!(system.processes().await.ended(), vec![], "somebody went");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_and_recovers() {
    let _alone = alone().await;
    if !can_start_servers("disk full") {
        return;
    }
    if !Cluster::can_have_a_volume() {
        return skip("disk full", "making a small volume needs root");
    }
    let rounds = setting("POBLYSH_FAULTS_DISK_ROUNDS", 1);
    let cluster = Cluster::start_on_small_volume(VOLUME_MIB).await;
    let system = System::with_fast_provider()
        .database(TestDb::within(&cluster).await)
        .outside()
        .start()
        .await;
    let tenant = system.tenant("Acme").await;
    let (account, admin) = system.accounts().await.remove(0);
    let webhooks = Webhooks::prepare(&system, &tenant, (&account, &admin)).await;
    let connections = tenant.get("/v1/connections").await;
    let connection = connections["connections"][0]["id"].as_str().expect("an id");
    assert!(connection.parse::<Uuid>().is_ok());
    let follower = Follower::start(&tenant, &Doors::only(&system.api));
    let doors = Doors::only(&system.ingress);
    let load = Load::start(&Arc::new(webhooks), &doors, Pace::PerSecond(60));
    for _ in 0..rounds {
        let before = load.acknowledged();
        eventually("the load is taken", async || {
            load.acknowledged() > before + 50
        })
        .await;
        let refused = load.record().refused;
        let ballast = fill(&cluster.data());
        eventually("deliveries are refused", async || {
            load.record().refused > refused + 50
        })
        .await;
        assert_refused(&system, &tenant, connection).await;
        std::fs::remove_file(ballast).expect("there is room again");
        let room = Instant::now();
        // A server that could not write its log has stopped; whoever looks after it starts it.
        let stopped = !cluster.answers().await;
        if stopped {
            cluster.try_start().await;
        }
        let before = load.acknowledged();
        eventually("deliveries are taken again", async || {
            load.acknowledged() > before + 50
        })
        .await;
        eprintln!(
            "disk full: taken again {:?} after there was room; Postgres had {}",
            room.elapsed(),
            if stopped { "stopped" } else { "gone on" }
        );
    }
    assert_eq!(system.processes().await.ended(), vec![], "somebody went");
    let record = load.stop().await;
    assert_eq!(record.failed.len(), 0, "{:?}", record.failed);
    eprintln!(
        "disk full: {} acknowledged, {} refused with Retry-After",
        record.acknowledged.len(),
        record.refused
    );
    assert_kept(&system, &tenant, &record, follower).await;
}
