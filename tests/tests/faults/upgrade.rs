//! A rolling upgrade under load.
//!
//! The previous release's processes run on the next schema and are then replaced one by one.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use migrations::Migrator;
use serde_json::json;
use tests::harness::{
    Endpoints, FeedReader, Load, Pace, Process, ProcessOverrides, System, TestDb, Webhooks,
    eventually, free_address,
};

use super::next_release::{ADDED, NextRelease};
use super::{alone, assert_guarantees};

/// The folder of the previous release's programs.
///
/// `scripts/test` builds them from the newest tag.
#[expect(
    clippy::disallowed_methods,
    reason = "the environment configures a test run"
)]
fn previous_release() -> Option<PathBuf> {
    std::env::var_os("POBLYSH_PREVIOUS_RELEASE").map(PathBuf::from)
}

/// Migrates the database with the previous release's program.
fn migrate_as_released(folder: &Path, db: &TestDb) {
    let status = Command::new(folder.join("migrations"))
        .arg("up")
        .env("POBLYSH_DATABASE_URL", db.url())
        .current_dir(std::env::temp_dir())
        .status()
        .expect("the previous release is built: `scripts/test --faults upgrade`");
    assert!(status.success(), "its migrations: {status}");
}

/// Waits until fifty more deliveries are acknowledged and the last of them is a Signal.
async fn fifty_more_processed(system: &System, load: &Load, when: &str) {
    let before = load.acknowledged();
    eventually(when, async || load.acknowledged() > before + 50).await;
    let keys = load.record().keys();
    let last = keys.last().expect("some");
    eventually(when, async || {
        let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM signals WHERE dedupe_key = $1")
            .bind(last)
            .fetch_one(system.db.pool())
            .await
            .expect("the query result");
        stored == 1
    })
    .await;
}

/// Applies the next release's migrations while a long transaction reads the busiest tables.
async fn migrate_beside_a_long_transaction(system: &System, load: &Load) {
    let mut backup = system.db.pool().begin().await.expect("a transaction");
    sqlx::query("LOCK TABLE jobs, deliveries, signals IN ACCESS SHARE MODE")
        .execute(&mut *backup)
        .await
        .expect("read locks");
    let during = async {
        fifty_more_processed(system, load, "work continues while the migration waits").await;
        assert_eq!(applied(&system.db).await, 0, "it waits for the transaction");
        backup.rollback().await.expect("ended");
    };
    tokio::join!(system.db.migrate::<NextRelease>(), during);
    assert_eq!(applied(&system.db).await, ADDED);
    let complete: bool = sqlx::query_scalar(
        "SELECT (SELECT indisvalid FROM pg_index WHERE indexrelid = 'signals_next'::regclass) \
             AND (SELECT convalidated FROM pg_constraint WHERE conname = 'next_occurred_at')",
    )
    .fetch_one(system.db.pool())
    .await
    .expect("the catalog");
    assert!(
        complete,
        "the index is valid and the constraint is validated"
    );
}

/// The number of applied migrations of the next release.
async fn applied(db: &TestDb) -> usize {
    let applied: i64 =
        sqlx::query_scalar("SELECT count(*) FROM seaql_migrations WHERE version LIKE 'm2999%'")
            .fetch_one(db.pool())
            .await
            .expect("the query result");
    usize::try_from(applied).expect("a count")
}

#[tokio::test(flavor = "multi_thread")]
async fn rolling_upgrade_rejects_and_loses_nothing() {
    let _alone = alone().await;
    let db = TestDb::empty().await;
    let previous = previous_release();
    if let Some(folder) = &previous {
        eprintln!("upgrade: from the release in {}", folder.display());
        migrate_as_released(folder, &db);
    } else {
        eprintln!("upgrade: from this build, because no release is built (scripts/test)");
        db.migrate::<Migrator>().await;
    }
    let previous = ProcessOverrides {
        binaries: previous,
        ..ProcessOverrides::default()
    };
    let system = System::with_fast_provider()
        .simulator(|sim| {
            (sim.accounts, sim.providers.github.repositories, sim.history) = (2, 2, 30);
        })
        .database(db)
        .workers(2)
        .load_balanced()
        .override_process(Process::Api, previous.clone())
        .override_process(Process::Ingress, previous.clone())
        .override_process(Process::Worker, previous)
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
    let (api_endpoints, endpoints) = (Endpoints::ready(&apis), Endpoints::ready(&ingresses));
    let reader = FeedReader::start(&tenant, &api_endpoints);
    let load = Load::start(&Arc::new(webhooks), &endpoints, Pace::PerSecond(40));
    fifty_more_processed(&system, &load, "the previous release works").await;

    migrate_beside_a_long_transaction(&system, &load).await;
    fifty_more_processed(&system, &load, "it works on the next schema").await;

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
        for (kind, endpoints) in [
            (Process::Api, &api_endpoints),
            (Process::Ingress, &endpoints),
        ] {
            if kind == process {
                eventually("the balancer uses it again", async || {
                    endpoints.is_ready(again)
                })
                .await;
            }
        }
        fifty_more_processed(&system, &load, "both releases work together").await;
    }
    let record = load.stop().await;
    assert_eq!(record.failed.len(), 0, "{:?}", record.failed);
    assert_eq!(record.rejected, 0, "deliveries were rejected");
    assert_eq!(reader.failed_reads(), 0, "reads were rejected");
    eprintln!("upgrade: {} acknowledged", record.acknowledged.len());
    assert_guarantees(&system, &tenant, &record, reader).await;
    other.assert_equals_ledger_after_poll(&other_account).await;
}
