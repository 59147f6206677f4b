//! `PgBouncer` in transaction mode, with few server sessions, in front of Postgres.
//!
//! One worker listens for notifications through a direct session, the other one polls.

use std::sync::Arc;

use serde_json::json;
use tests::harness::{
    Cluster, Endpoints, FeedReader, Load, Pace, Pooler, Process, ProcessOverrides, System, TestDb,
    Webhooks, eventually, free_address,
};

use super::{alone, assert_guarantees, can_start_servers, setting, skip};

/// Server sessions that all processes share.
const MAX_SESSIONS: u32 = 6;

/// The number of sessions that listen for notifications.
async fn listeners(db: &TestDb) -> i64 {
    sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity \
         WHERE datname = current_database() AND query LIKE 'LISTEN %'",
    )
    .fetch_one(db.pool())
    .await
    .expect("the query result")
}

#[tokio::test(flavor = "multi_thread")]
async fn service_works_behind_a_transaction_pooler() {
    let _alone = alone().await;
    if !can_start_servers("pooler") {
        return;
    }
    if Pooler::program().is_none() {
        return skip("pooler", "pgbouncer is not installed");
    }
    let rounds = setting("POBLYSH_FAULTS_POOLER_ROUNDS", 4);
    let cluster = Cluster::start().await;
    let db = TestDb::create_in(&cluster).await;
    let pooler = Pooler::start(db.url(), MAX_SESSIONS);
    let direct = db.url().to_owned();
    let system = System::with_fast_provider()
        .simulator(|sim| {
            (sim.accounts, sim.providers.github.repositories, sim.history) = (2, 2, 30);
        })
        .database(db)
        .env("POBLYSH_DATABASE_URL", pooler.through(&direct))
        .env("POBLYSH_DATABASE_POOLING", "transaction")
        .load_balanced()
        .start()
        .await;
    assert_eq!(
        listeners(&system.db).await,
        0,
        "no listener works through the pooler"
    );
    let direct = ProcessOverrides {
        env: vec![("POBLYSH_WORKER_LISTEN_DATABASE_URL".to_owned(), direct)],
        ..ProcessOverrides::default()
    };
    system
        .processes()
        .await
        .start_with(Process::Worker, free_address(), &direct)
        .await;
    eventually("the second worker listens", async || {
        listeners(&system.db).await == 1
    })
    .await;

    let mut accounts = system.accounts().await;
    let (account, admin) = accounts.remove(0);
    let tenant = system.tenant("Acme").await;
    let webhooks = Webhooks::prepare(&system, &tenant, (&account, &admin)).await;
    let reader = FeedReader::start(&tenant, &Endpoints::only(&system.api));
    let load = Load::start(
        &Arc::new(webhooks),
        &Endpoints::only(&system.ingress),
        Pace::PerSecond(30),
    );
    let other = system.tenant("Globex").await;
    let (other_account, other_admin) = accounts.remove(0);
    other.connect(&other_account, &other_admin).await;
    for _ in 0..rounds {
        let some = json!({ "count": 40, "account": other_account });
        system.sim("github/generate", some).await;
        other.poll().await;
        eventually("the poll has ended", async || {
            let left: i64 =
                sqlx::query_scalar("SELECT count(*) FROM jobs WHERE kind = 'sync_connection'")
                    .fetch_one(system.db.pool())
                    .await
                    .expect("the query result");
            left == 0
        })
        .await;
    }
    let record = load.stop().await;
    assert_eq!(record.failed.len(), 0, "{:?}", record.failed);
    assert_eq!(record.rejected, 0, "deliveries were rejected");
    assert_eq!(reader.failed_reads(), 0, "reads were rejected");
    assert_guarantees(&system, &tenant, &record, reader).await;
    other.assert_equals_ledger_after_poll(&other_account).await;
    let used: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
         AND application_name LIKE 'poblysh\\_%'",
    )
    .fetch_one(system.db.pool())
    .await
    .expect("the query result");
    eprintln!(
        "pooler: {} acknowledged; {used} sessions for seven processes",
        record.acknowledged.len()
    );
    // The direct session comes in addition.
    assert!(used <= i64::from(MAX_SESSIONS) + 1, "{used} sessions");
}
