//! The feed read from a streaming replica: while it follows, while it lags, when it is lost.

use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};
use tests::harness::{
    Cluster, Doors, Follower, Proxy, System, Tenant, TestDb, Writers, eventually, eventually_within,
};
use url::Url;

use super::{alone, can_start_servers, seeded, setting};

const WRITERS: u64 = 8;

/// The replica's URL of the same database.
fn replica_url(replica: &Cluster, db: &TestDb) -> String {
    let mut url = Url::parse(&replica.url()).expect("a URL");
    url.set_path(Url::parse(db.url()).expect("a URL").path());
    url.to_string()
}

async fn tell(url: &str, statement: &'static str) {
    let mut connection = PgConnection::connect(url).await.expect("it answers");
    sqlx::raw_sql(statement)
        .execute(&mut connection)
        .await
        .expect("done");
}

/// Ids of what writers committed, once all of it is in the primary's table.
async fn write(system: &System, tenant: &Tenant<'_>, seed: &mut u64) -> usize {
    let seeds = *seed..*seed + WRITERS;
    *seed += WRITERS;
    Writers::start(&system.db, tenant.id, seeds, 180, 5)
        .finish()
        .await
        .len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_on_a_replica_has_no_holes_and_outlives_it() {
    let _alone = alone().await;
    if !can_start_servers("replica") {
        return;
    }
    let rounds = setting("POBLYSH_FAULTS_REPLICA_ROUNDS", 1);
    let (seed, _) = seeded("replica");
    let mut seed = seed * 1000;
    let primary = Cluster::start().await;
    let replica = primary.replica().await;
    let db = TestDb::within(&primary).await;
    let url = replica_url(&replica, &db);
    let wire = Proxy::start(&url).await;
    let system = System::with_fast_provider()
        .env("POBLYSH_API_READ_DATABASE_URL", wire.through(&url))
        .database(db)
        .outside()
        .start()
        .await;
    let tenant = system.tenant("Acme").await;
    let follower = Follower::start(&tenant, &Doors::only(&system.api));
    let mut committed = 0;
    let seen_all = async |what: &str, committed: usize| {
        eventually(what, async || follower.count() >= committed).await;
        assert_eq!(follower.count(), committed, "nothing twice");
    };

    for _ in 0..rounds {
        committed += write(&system, &tenant, &mut seed).await;
        seen_all("the feed goes on", committed).await;

        // Reads come from the replica: what it has not replayed is not in the feed.
        tell(&url, "SELECT pg_wal_replay_pause()").await;
        let before = committed;
        committed += write(&system, &tenant, &mut seed).await;
        assert_eq!(tenant.feed().await.len(), before, "read from the primary");
        assert_eq!(follower.count(), before);
        tell(&url, "SELECT pg_wal_replay_resume()").await;
        seen_all("the replica has caught up", committed).await;

        // It is lost while everybody writes and reads.
        let writers = Writers::start(&system.db, tenant.id, seed..seed + WRITERS, 180, 5);
        seed += WRITERS;
        replica.stop_immediately().await;
        let lost = Instant::now();
        tenant.get("/v1/signals").await;
        let took = lost.elapsed();
        committed += writers.finish().await.len();
        seen_all("the primary answers instead", committed).await;
        eprintln!("replica: lost; the first read after that took {took:?}");
        replica.start_again().await;
        eventually("the replica is read again", async || reads(&url).await > 0).await;
    }
    if setting("POBLYSH_FAULTS_REPLICA_SILENCE", 0) > 0 {
        // Nothing is heard of it at all.
        wire.freeze();
        let frozen = Instant::now();
        tenant.get("/v1/signals").await;
        eprintln!(
            "replica: silent; the first read after that took {:?}",
            frozen.elapsed()
        );
        committed += write(&system, &tenant, &mut seed).await;
        seen_all("the primary answers instead", committed).await;
        wire.mend();
        // It answers, and hears nothing for longer than it may.
        tell(&url, "SELECT pg_wal_replay_pause()").await;
        committed += write(&system, &tenant, &mut seed).await;
        let patience = Duration::from_mins(1);
        eventually_within(patience, "the primary is asked", async || {
            follower.count() == committed
        })
        .await;
        tell(&url, "SELECT pg_wal_replay_resume()").await;
    }
    assert_eq!(follower.interruptions(), 0, "reads failed");
    follower.assert_saw_everything(&tenant).await;
}

/// Connections of the API at the replica.
async fn reads(url: &str) -> i64 {
    let Ok(mut connection) = PgConnection::connect(url).await else {
        return 0;
    };
    sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'poblysh_api'",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap_or(0)
}
