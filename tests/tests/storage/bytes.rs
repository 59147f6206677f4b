//! The size of jobs' deliveries, which limits the worker's memory and the ingress's backlog.

use shared::clock::{Clock, SystemClock};
use shared::db::TenantScope;
use shared::db::routes::Recipient;
use shared::inbox::{self, ReplayOutcome};
use shared::model::{ConnectionId, DeliveryId, NewJob, ProcessDeliveries, TenantId};
use shared::queue::{JobQueue, PgJobQueue};
use tests::harness::TestDb;

use crate::connections::scope_of;

const BODY: usize = 100_000;

/// Creates a tenant with an active connection.
pub(crate) async fn create_connection(test: &TestDb, account: &str) -> (TenantScope, ConnectionId) {
    let (tenant, id) = (TenantId::generate(), ConnectionId::generate());
    for statement in [
        "INSERT INTO tenants (id, name) SELECT $1, $2::text || $3",
        "INSERT INTO connections (tenant_id, id, provider, status, account_id, \
             poll_interval_seconds) VALUES ($1, $2, 'any', 'active', $3, 300)",
    ] {
        sqlx::query(statement)
            .bind(tenant)
            .bind(id)
            .bind(account)
            .execute(test.pool())
            .await
            .expect("a row");
    }
    (scope_of(tenant), id)
}

/// Inserts a delivery of an account without a connection.
async fn insert_unmatched(test: &TestDb, account: &str) -> DeliveryId {
    let now = SystemClock.now().timestamp_millis();
    let id = DeliveryId::at(u64::try_from(now).expect("after 1970"));
    sqlx::query(
        "INSERT INTO deliveries (tenant_id, received_at, id, provider, account_id, dedupe_id, \
             event, headers, body, outcome) \
         VALUES ($1, $2, $3, 'any', $4, 'd', 'e', '{}', $5, 'unmatched')",
    )
    .bind(TenantId::UNASSIGNED)
    .bind(id.received_at())
    .bind(id)
    .bind(account)
    .bind(vec![7_u8; BODY])
    .execute(test.pool())
    .await
    .expect("a row");
    id
}

#[tokio::test]
async fn jobs_record_bytes_of_their_deliveries() {
    let test = TestDb::create().await;
    let db = test.as_worker(2);
    let (first, connection) = create_connection(&test, "first").await;
    let (second, other) = create_connection(&test, "second").await;
    let id = insert_unmatched(&test, "first").await;
    let queue = PgJobQueue::new(db.clone());
    let mut tx = db
        .begin_many(&[first, second, scope_of(TenantId::UNASSIGNED)])
        .await
        .expect("begun");
    // A rematched delivery.
    inbox::rematch(
        &queue,
        &mut tx,
        first.tenant_id(),
        connection,
        "any",
        "first",
    )
    .await
    .expect("rematched");
    // A delivery that is fanned out.
    let delivery = inbox::load_one(&mut tx, first.tenant_id(), id)
        .await
        .expect("loaded")
        .expect("the delivery");
    let recipient = Recipient {
        scope: second,
        connection: other,
        route: "second".to_owned(),
    };
    inbox::fan_out(&queue, &mut tx, &delivery, &recipient)
        .await
        .expect("copied");
    // A replayed delivery.
    let replayed = inbox::replay(&queue, &mut tx, &first, id, None).await;
    assert!(matches!(
        replayed.expect("replayed"),
        ReplayOutcome::Queued(_)
    ));
    // A job that continues after its directory entries were resolved.
    let process = ProcessDeliveries {
        deliveries: vec![id, id],
    };
    let next = NewJob::new(first.tenant_id(), "any", Some(connection), process);
    queue.enqueue(&mut tx, &next).await.expect("enqueued");
    tx.commit().await.expect("committed");
    let mut bytes: Vec<i64> = sqlx::query_scalar("SELECT bytes FROM jobs")
        .fetch_all(test.pool())
        .await
        .expect("the query result");
    bytes.sort_unstable();
    let one = i64::try_from(BODY).expect("small");
    let at_least = [one, one, one, 2 * one];
    assert_eq!(bytes.len(), at_least.len());
    for (bytes, at_least) in bytes.iter().zip(at_least) {
        assert!((at_least..at_least + 2_000).contains(bytes), "{bytes}");
    }
}
