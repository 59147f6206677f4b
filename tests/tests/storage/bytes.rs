//! Jobs carry the bytes of the deliveries they process, however they came to be queued: the
//! worker's memory and the ingress's backlog are bounded by them.

use shared::clock::{Clock, SystemClock};
use shared::db::TenantScope;
use shared::db::deliveries::{self, Replay};
use shared::db::routes::Recipient;
use shared::ids::{ConnectionId, DeliveryId, TenantId};
use shared::inbox;
use shared::queue::{JobPayload, NewJob, enqueue};
use tests::harness::TestDb;

use crate::connections::scope_of;

const BODY: usize = 100_000;

/// A tenant with an active connection.
pub(crate) async fn connected(test: &TestDb, account: &str) -> (TenantScope, ConnectionId) {
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

/// A delivery of an account that nobody has connected.
async fn unmatched(test: &TestDb, account: &str) -> DeliveryId {
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
async fn jobs_carry_the_bytes_of_their_deliveries() {
    let test = TestDb::create().await;
    let db = test.as_worker(2);
    let (first, connection) = connected(&test, "first").await;
    let (second, other) = connected(&test, "second").await;
    let id = unmatched(&test, "first").await;
    let mut tx = db
        .begin_many(&[first, second, scope_of(TenantId::UNASSIGNED)])
        .await
        .expect("begun");
    // Matched later.
    inbox::adopt(&mut tx, first.tenant_id(), connection, "any", "first")
        .await
        .expect("adopted");
    // Copied.
    let delivery = inbox::load_one(&mut tx, first.tenant_id(), id)
        .await
        .expect("asked")
        .expect("there");
    let recipient = Recipient {
        scope: second,
        connection: other,
        route: "second".to_owned(),
    };
    inbox::copy(&mut tx, &delivery, &recipient)
        .await
        .expect("copied");
    // Replayed.
    let replayed = deliveries::replay(&mut tx, &first, id, None).await;
    assert!(matches!(replayed.expect("asked"), Replay::Queued(_)));
    // Continued after its names were looked up.
    let next = NewJob {
        tenant_id: first.tenant_id(),
        provider: "any".to_owned(),
        connection_id: Some(connection),
        cursor_window: None,
        payload: JobPayload::ProcessDeliveries {
            deliveries: vec![id, id],
        },
        traceparent: None,
    };
    enqueue(&mut tx, &next).await.expect("enqueued");
    tx.commit().await.expect("committed");
    let mut bytes: Vec<i64> = sqlx::query_scalar("SELECT bytes FROM jobs")
        .fetch_all(test.pool())
        .await
        .expect("Postgres answers");
    bytes.sort_unstable();
    let one = i64::try_from(BODY).expect("small");
    let at_least = [one, one, one, 2 * one];
    assert_eq!(bytes.len(), at_least.len());
    for (bytes, at_least) in bytes.iter().zip(at_least) {
        assert!((at_least..at_least + 2_000).contains(bytes), "{bytes}");
    }
}
