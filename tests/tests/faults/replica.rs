//! The feed on a streaming replica: in sync, lagging, lost and silent.

use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};
use tests::harness::{
    BackgroundWriters, Cluster, Endpoints, FeedReader, Proxy, System, Tenant, TestDb, eventually,
    eventually_within,
};
use url::Url;

use super::{alone, can_start_servers, seeded, setting};

const WRITERS: u64 = 8;

/// The URL of the database on the replica.
fn replica_url(replica: &Cluster, db: &TestDb) -> String {
    let mut url = Url::parse(&replica.url()).expect("a URL");
    url.set_path(Url::parse(db.url()).expect("a URL").path());
    url.to_string()
}

async fn execute(url: &str, statement: &'static str) {
    let mut session = PgConnection::connect(url).await.expect("a session");
    sqlx::raw_sql(statement)
        .execute(&mut session)
        .await
        .expect("done");
}

/// Writes Signals on the primary; returns how many were committed.
async fn write(system: &System, tenant: &Tenant<'_>, seed: &mut u64) -> usize {
    let seeds = *seed..*seed + WRITERS;
    *seed += WRITERS;
    BackgroundWriters::start(&system.db, tenant.id, seeds, 180, 5)
        .finish()
        .await
        .len()
}

#[tokio::test(flavor = "multi_thread")]
async fn feed_has_no_gaps_while_replica_fails() {
    let _alone = alone().await;
    if !can_start_servers("replica") {
        return;
    }
    let rounds = setting("POBLYSH_FAULTS_REPLICA_ROUNDS", 1);
    let (seed, _) = seeded("replica");
    let mut seed = seed * 1000;
    let primary = Cluster::start().await;
    let replica = primary.replica().await;
    let db = TestDb::create_in(&primary).await;
    let url = replica_url(&replica, &db);
    let proxy = Proxy::start(&url).await;
    let system = System::with_fast_provider()
        .env("POBLYSH_API_READ_DATABASE_URL", proxy.through(&url))
        .database(db)
        .out_of_process()
        .start()
        .await;
    let tenant = system.tenant("Acme").await;
    let reader = FeedReader::start(&tenant, &Endpoints::only(&system.api));
    let mut committed = 0;
    let assert_read = async |condition: &str, committed: usize| {
        eventually(condition, async || reader.count() >= committed).await;
        assert_eq!(reader.count(), committed, "no duplicates");
    };

    for _ in 0..rounds {
        committed += write(&system, &tenant, &mut seed).await;
        assert_read("the reader follows the feed", committed).await;

        // The feed is read from the replica, so it lacks the Signals that are not replayed yet.
        execute(&url, "SELECT pg_wal_replay_pause()").await;
        let before = committed;
        committed += write(&system, &tenant, &mut seed).await;
        assert_eq!(tenant.feed().await.len(), before, "read from the primary");
        assert_eq!(reader.count(), before);
        execute(&url, "SELECT pg_wal_replay_resume()").await;
        assert_read("the replica has caught up", committed).await;

        // The replica crashes during writes and reads.
        let writers = BackgroundWriters::start(&system.db, tenant.id, seed..seed + WRITERS, 180, 5);
        seed += WRITERS;
        replica.stop_immediately().await;
        let lost = Instant::now();
        tenant.get("/v1/signals").await;
        let took = lost.elapsed();
        committed += writers.finish().await.len();
        assert_read("the primary is used instead", committed).await;
        eprintln!("replica: lost; the next read took {took:?}");
        replica.start_server().await;
        eventually("the replica is used again", async || {
            api_sessions(&url).await > 0
        })
        .await;
    }
    if setting("POBLYSH_FAULTS_REPLICA_SILENCE", 0) > 0 {
        // The replica stops responding.
        proxy.freeze();
        let frozen = Instant::now();
        tenant.get("/v1/signals").await;
        eprintln!("replica: silent; the next read took {:?}", frozen.elapsed());
        committed += write(&system, &tenant, &mut seed).await;
        assert_read("the primary is used instead", committed).await;
        proxy.restore();
        // The replica responds and lags for longer than allowed.
        execute(&url, "SELECT pg_wal_replay_pause()").await;
        committed += write(&system, &tenant, &mut seed).await;
        let timeout = Duration::from_mins(1);
        eventually_within(timeout, "the primary is used", async || {
            reader.count() == committed
        })
        .await;
        execute(&url, "SELECT pg_wal_replay_resume()").await;
    }
    assert_eq!(reader.failed_reads(), 0, "reads failed");
    reader.assert_read_every_signal(&tenant).await;
}

/// The number of sessions of the API on the replica.
async fn api_sessions(url: &str) -> i64 {
    let Ok(mut session) = PgConnection::connect(url).await else {
        return 0;
    };
    sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'poblysh_api'",
    )
    .fetch_one(&mut session)
    .await
    .unwrap_or(0)
}
