//! A rolling upgrade: the previous release's processes on the new schema, then replaced one by
//! one, under load.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;
use tests::harness::{
    Doors, Follower, Load, Pace, Process, System, TestDb, Variation, Webhooks, eventually,
    free_address,
};

use super::{alone, assert_kept, skip};

/// The previous release's binaries: those of the commit before the newest migration.
#[expect(
    clippy::disallowed_methods,
    reason = "a test run is told where these binaries are by the environment"
)]
fn previous_release() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("POBLYSH_PREVIOUS_RELEASE")?);
    if folder.as_os_str() == "none" {
        eprintln!("upgrade: there is no release before this one in the history");
        return Some(folder);
    }
    folder.join("sync-worker").exists().then_some(folder)
}

/// Waits until so many more deliveries are acknowledged and worked on.
async fn taken(system: &System, load: &Load, what: &str) {
    let before = load.acknowledged();
    eventually(what, async || load.acknowledged() > before + 50).await;
    let keys = load.record().keys();
    let last = keys.last().expect("some");
    eventually(what, async || {
        let made: i64 = sqlx::query_scalar("SELECT count(*) FROM signals WHERE dedupe_key = $1")
            .bind(last)
            .fetch_one(system.db.pool())
            .await
            .expect("Postgres answers");
        made == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_previous_release_works_on_the_new_schema_until_it_is_replaced() {
    let _alone = alone().await;
    let Some(folder) = previous_release() else {
        return skip("upgrade", "the previous release is not built");
    };
    if folder.as_os_str() == "none" {
        return;
    }
    let db = TestDb::before_the_newest_migration().await;
    let previous = Variation {
        binaries: Some(folder),
        ..Variation::default()
    };
    let system = System::builder()
        .simulator(|sim| (sim.accounts, sim.repositories, sim.history) = (2, 2, 30))
        .database(db)
        .workers(2)
        .pairs()
        .vary(Process::Api, previous.clone())
        .vary(Process::Ingress, previous.clone())
        .vary(Process::Worker, previous)
        .start()
        .await;
    let mut accounts = system.accounts().await;
    let (account, admin) = accounts.remove(0);
    let tenant = system.tenant("Acme").await;
    let webhooks = Webhooks::prepare(&system, &tenant, (&account, &admin)).await;
    let other = system.tenant("Globex").await;
    let (other_account, other_admin) = accounts.remove(0);
    other.connect(&other_account, &other_admin).await;
    let (apis, ingresses, workers) = {
        let processes = system.processes().await;
        let of = |process| processes.addresses(process);
        (of(Process::Api), of(Process::Ingress), of(Process::Worker))
    };
    let (api_doors, doors) = (Doors::ready(&apis), Doors::ready(&ingresses));
    let follower = Follower::start(&tenant, &api_doors);
    let load = Load::start(&Arc::new(webhooks), &doors, Pace::PerSecond(40));
    taken(&system, &load, "the previous release works").await;

    system.db.migrate(None).await;
    taken(&system, &load, "it works on the new schema").await;

    for (process, address) in [
        (Process::Ingress, ingresses[0]),
        (Process::Worker, workers[0]),
        (Process::Api, apis[0]),
        (Process::Api, apis[1]),
        (Process::Worker, workers[1]),
        (Process::Ingress, ingresses[1]),
    ] {
        let some = json!({ "count": 20, "account": other_account });
        system.sim("github/generate", some).await;
        let mut processes = system.processes().await;
        let status = processes.terminate_at(address).await;
        assert!(status.success(), "{process:?}: {status}");
        let again = match process {
            Process::Worker => free_address(),
            Process::Api | Process::Ingress => address,
        };
        processes.start(process, again).await;
        drop(processes);
        for (kind, doors) in [(Process::Api, &api_doors), (Process::Ingress, &doors)] {
            if kind == process {
                eventually("the balancer has noticed", async || doors.is_open(again)).await;
            }
        }
        taken(&system, &load, "both releases work side by side").await;
    }
    let record = load.stop().await;
    assert_eq!(record.failed.len(), 0, "{:?}", record.failed);
    assert_eq!(record.refused, 0, "deliveries were refused");
    assert_eq!(follower.interruptions(), 0, "reads were refused");
    eprintln!("upgrade: {} acknowledged", record.acknowledged.len());
    assert_kept(&system, &tenant, &record, follower).await;
    other
        .assert_equals_ledger_after_a_poll(&other_account)
        .await;
}
