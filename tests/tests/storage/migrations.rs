//! Migrations up and down, and generations of the feed.

use migrations::sea_orm::{ConnectOptions, Database, DatabaseConnection};
use migrations::{Migrator, feed};
use sea_orm_migration::MigratorTrait;
use tests::harness::TestDb;

async fn owner(db: &TestDb) -> DatabaseConnection {
    let mut options = ConnectOptions::new(db.url());
    options.max_connections(1).sqlx_logging(false);
    Database::connect(options).await.expect("the query result")
}

async fn objects(db: &TestDb) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT relname || ' ' || relkind::text FROM pg_class \
         WHERE relnamespace = 'public'::regnamespace AND relname NOT LIKE 'seaql%' \
         UNION ALL SELECT typname || ' type' FROM pg_type \
         WHERE typnamespace = 'public'::regnamespace AND typtype = 'e' \
         UNION ALL SELECT proname || ' function' FROM pg_proc \
         WHERE pronamespace = 'public'::regnamespace \
         UNION ALL SELECT tablename || '.' || policyname || ' policy' FROM pg_policies ORDER BY 1",
    )
    .fetch_all(db.pool())
    .await
    .expect("the catalog")
}

#[tokio::test]
async fn up_down_up_produces_same_schema() {
    let db = TestDb::empty().await;
    let owner = owner(&db).await;
    assert_eq!(objects(&db).await, Vec::<String>::new());
    Migrator::up(&owner, None).await.expect("up");
    let first = objects(&db).await;
    assert!(first.iter().any(|name| name == "signals r"), "{first:?}");
    Migrator::down(&owner, None).await.expect("down");
    assert_eq!(objects(&db).await, Vec::<String>::new());
    Migrator::up(&owner, None).await.expect("up again");
    assert_eq!(objects(&db).await, first);
    Migrator::up(&owner, None)
        .await
        .expect("a repeated up changes nothing");
}

async fn generations(db: &TestDb) -> Vec<i32> {
    sqlx::query_scalar("SELECT generation FROM feed_generations ORDER BY generation")
        .fetch_all(db.pool())
        .await
        .expect("the generations")
}

#[tokio::test]
async fn restore_into_another_cluster_begins_one_generation() {
    let db = TestDb::create().await;
    let owner = owner(&db).await;
    let tenant = uuid::Uuid::now_v7();
    sqlx::query(
        "INSERT INTO signals (tenant_id, id, connection_id, source, kind, dedupe_key, occurred_at, \
             received_at, tx_id, schema_version, body, raw) \
         SELECT $1, gen_random_uuid(), $1, 'any', 'issue_created', n::text, now(), now(), \
             (9000000000000 - n)::text::xid8, 1, '{}', '{}' FROM generate_series(1, 10) n",
    )
    .bind(tenant)
    .execute(db.pool())
    .await
    .expect("Signals of the previous cluster");
    assert!(!feed::renew_after_restore(&owner).await.expect("checked"));
    sqlx::query("UPDATE feed_generations SET system_identifier = 'another'")
        .execute(db.pool())
        .await
        .expect("as after a restore");
    assert!(feed::renew_after_restore(&owner).await.expect("renewed"));
    assert!(!feed::renew_after_restore(&owner).await.expect("checked"));
    assert_eq!(generations(&db).await, [1, 2]);
    let order: Vec<String> = sqlx::query_scalar(
        "SELECT dedupe_key FROM signals WHERE tx_id < pg_snapshot_xmin(pg_current_snapshot()) \
         ORDER BY tx_id, seq",
    )
    .fetch_all(db.pool())
    .await
    .expect("the feed");
    assert_eq!(order, (1..=10).map(|n| n.to_string()).collect::<Vec<_>>());
    let forced: bool =
        sqlx::query_scalar("SELECT relforcerowsecurity FROM pg_class WHERE relname = 'signals'")
            .fetch_one(db.pool())
            .await
            .expect("the catalog");
    assert!(forced, "the policies apply to the owner again");
    feed::renew(&owner).await.expect("renewed");
    assert_eq!(generations(&db).await, [1, 2, 3]);
}
