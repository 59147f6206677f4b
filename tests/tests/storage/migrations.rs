//! Up, down, up again.

use migrations::Migrator;
use migrations::sea_orm::{ConnectOptions, Database, DatabaseConnection};
use sea_orm_migration::MigratorTrait;
use tests::harness::TestDb;

async fn owner(db: &TestDb) -> DatabaseConnection {
    let mut options = ConnectOptions::new(db.url());
    options.max_connections(1).sqlx_logging(false);
    Database::connect(options).await.expect("Postgres answers")
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
async fn up_down_and_up_again_leave_the_same_schema() {
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
        .expect("up once more changes nothing");
}
