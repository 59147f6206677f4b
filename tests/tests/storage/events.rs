//! Events of health: in the transaction of the change, once for any number of reviewers.

use futures::future::join_all;
use shared::db::connections::{self, Reviewer};
use shared::db::events::{self, EventFilter};
use shared::db::page::PageRequest;
use shared::model::{ConnectionId, TenantId};
use tests::harness::TestDb;

use crate::connections::scope_of;

/// Inserts connections whose next read is overdue and whose review is due.
async fn insert_overdue(test: &TestDb, tenant: TenantId, count: i32) {
    for statement in [
        "INSERT INTO tenants (id, name) SELECT $1, 'one' WHERE $2 > 0",
        "INSERT INTO connections (tenant_id, id, provider, status, account_id, \
             poll_interval_seconds, connected_at) \
         SELECT $1, gen_random_uuid(), 'any', 'active', n::text, 300, now() - interval '1 hour' \
         FROM generate_series(1, $2) n",
        "INSERT INTO connection_routes (tenant_id, connection_id, provider, account_id, exclusive, \
             polling, poll_interval_seconds, health_review_at) \
         SELECT tenant_id, id, provider, account_id, true, true, 300, \
             now() - interval '1 minute' \
         FROM connections \
         WHERE tenant_id = $1 AND $2 > 0",
    ] {
        let done = sqlx::query(statement)
            .bind(tenant)
            .bind(count)
            .execute(test.pool())
            .await;
        done.expect("inserted");
    }
}

/// Counts the tenant's events by connection, in ascending order.
async fn counts(test: &TestDb, tenant: TenantId) -> Vec<i64> {
    sqlx::query_scalar(
        "SELECT count(*) FROM events WHERE tenant_id = $1 AND type = 'connection.degraded' \
         GROUP BY connection_id ORDER BY 1",
    )
    .bind(tenant)
    .fetch_all(test.pool())
    .await
    .expect("counted")
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_reviewers_write_each_event_once() {
    let test = TestDb::create().await;
    let tenant = TenantId::generate();
    insert_overdue(&test, tenant, 60).await;
    let (worker, api) = (test.as_worker(4), test.as_api(4));
    let reviews = (0..6).map(|number| {
        let (db, reviewer) = if number % 3 == 0 {
            (&api, Reviewer::Api)
        } else {
            (&worker, Reviewer::Worker)
        };
        connections::review_health(db, reviewer)
    });
    for reviewed in join_all(reviews).await {
        reviewed.expect("reviewed");
    }
    assert_eq!(counts(&test, tenant).await, vec![1; 60]);
    // Another review finds the state reported.
    let due = sqlx::query("UPDATE connection_routes SET health_review_at = now()");
    due.execute(test.pool()).await.expect("due");
    let reviewed = connections::review_health(&worker, Reviewer::Worker).await;
    assert_eq!(reviewed.expect("reviewed"), 60);
    assert_eq!(counts(&test, tenant).await, vec![1; 60]);
}

#[tokio::test]
async fn event_commits_with_its_change() {
    let test = TestDb::create().await;
    let tenant = TenantId::generate();
    insert_overdue(&test, tenant, 1).await;
    let scope = scope_of(tenant);
    let db = test.as_worker(1);
    let id: ConnectionId = sqlx::query_scalar("SELECT id FROM connections")
        .fetch_one(test.pool())
        .await
        .expect("the connection");
    let mut tx = db.begin(&scope).await.expect("begun");
    let refreshed = connections::refresh_health(&mut tx, &scope, id).await;
    refreshed.expect("refreshed");
    // As when the worker is killed before it commits.
    drop(tx);
    let mut tx = db.begin(&scope).await.expect("begun");
    let request = PageRequest::parse(None, None).expect("a page");
    let list = events::list(&mut tx, &scope, &EventFilter::default(), &request).await;
    assert_eq!(list.expect("a list").items.len(), 0);
    let refreshed = connections::refresh_health(&mut tx, &scope, id).await;
    refreshed.expect("refreshed");
    tx.commit().await.expect("committed");
    assert_eq!(counts(&test, tenant).await, [1]);
}
