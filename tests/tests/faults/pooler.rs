//! `PgBouncer` in transaction mode between all processes and Postgres, with fewer connections
//! than there are users of them. One worker hears of work by a way around it, the other looks.

use std::sync::Arc;

use serde_json::json;
use tests::harness::{
    Cluster, Doors, Follower, Load, Pace, Pooler, Process, System, TestDb, Variation, Webhooks,
    eventually, free_address,
};

use super::{alone, assert_kept, can_start_servers, setting, skip};

/// Connections to Postgres that all processes share.
const CONNECTIONS: u32 = 6;

/// Who listens for notifications, and by which port of the server's.
async fn listeners(db: &TestDb) -> i64 {
    sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity \
         WHERE datname = current_database() AND query LIKE 'LISTEN %'",
    )
    .fetch_one(db.pool())
    .await
    .expect("Postgres answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_transaction_pooler_everything_works() {
    let _alone = alone().await;
    if !can_start_servers("pooler") {
        return;
    }
    if Pooler::program().is_none() {
        return skip("pooler", "pgbouncer is not installed");
    }
    let rounds = setting("POBLYSH_FAULTS_POOLER_ROUNDS", 4);
    let cluster = Cluster::start().await;
    let db = TestDb::within(&cluster).await;
    let pooler = Pooler::start(db.url(), CONNECTIONS);
    let direct = db.url().to_owned();
    let system = System::with_fast_provider()
        .simulator(|sim| (sim.accounts, sim.repositories, sim.history) = (2, 2, 30))
        .database(db)
        .env("POBLYSH_DATABASE_URL", pooler.through(&direct))
        .env("POBLYSH_DATABASE_POOLING", "transaction")
        .pairs()
        .start()
        .await;
    assert_eq!(listeners(&system.db).await, 0, "nobody could listen there");
    let around = Variation {
        env: vec![("POBLYSH_WORKER_LISTEN_DATABASE_URL".to_owned(), direct)],
        ..Variation::default()
    };
    system
        .processes()
        .await
        .start_as(Process::Worker, free_address(), &around)
        .await;
    eventually("the second worker listens", async || {
        listeners(&system.db).await == 1
    })
    .await;

    let mut accounts = system.accounts().await;
    let (account, admin) = accounts.remove(0);
    let tenant = system.tenant("Acme").await;
    let webhooks = Webhooks::prepare(&system, &tenant, (&account, &admin)).await;
    let follower = Follower::start(&tenant, &Doors::only(&system.api));
    let load = Load::start(
        &Arc::new(webhooks),
        &Doors::only(&system.ingress),
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
                    .expect("Postgres answers");
            left == 0
        })
        .await;
    }
    let record = load.stop().await;
    assert_eq!(record.failed.len(), 0, "{:?}", record.failed);
    assert_eq!(record.refused, 0, "deliveries were refused");
    assert_eq!(follower.interruptions(), 0, "reads were refused");
    assert_kept(&system, &tenant, &record, follower).await;
    other
        .assert_equals_ledger_after_a_poll(&other_account)
        .await;
    let used: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
         AND application_name LIKE 'poblysh\\_%'",
    )
    .fetch_one(system.db.pool())
    .await
    .expect("Postgres answers");
    eprintln!(
        "pooler: {} acknowledged; {used} connections for seven processes",
        record.acknowledged.len()
    );
    // And the one that goes around it.
    assert!(used <= i64::from(CONNECTIONS) + 1, "{used} connections");
}
