//! Lists of connections by health, of one tenant and of all, and reviews of health.

use secrecy::SecretString;
use shared::db::OperatorProof;
use shared::db::connections::{self, ConnectionFilter, Reviewer};
use shared::db::page::PageRequest;
use shared::health::HealthState;
use shared::model::TenantId;
use tests::harness::TestDb;

use super::Reads;
use super::lists::{insert_connections, read_pages, seed};
use crate::connections::scope_of;

/// Stores the health of all connections: one in forty of each tenant is degraded.
const HEALTH: [&str; 2] = [
    "UPDATE connections SET \
         health = CASE WHEN n % 40 = 1 THEN 'degraded' ELSE 'healthy' END, \
         health_reason = CASE WHEN n % 40 = 1 THEN 'rate_limited' ELSE 'up_to_date' END \
     FROM (SELECT tenant_id, id, row_number() OVER (PARTITION BY tenant_id ORDER BY id) AS n \
         FROM connections) numbered \
     WHERE connections.tenant_id = numbered.tenant_id AND connections.id = numbered.id",
    "VACUUM ANALYZE",
];

/// The entries that a list reads from the indexes of connections.
fn entries(reads: &Reads) -> i64 {
    let indexes = reads.by_index.iter();
    let own = indexes.filter(|(index, _)| {
        [
            "connections_pkey",
            "connections_all",
            "connections_all_health",
            "connections_health",
        ]
        .contains(&index.as_str())
    });
    own.map(|(_, entries)| entries).sum()
}

fn proof() -> OperatorProof {
    let token = SecretString::from("operator-token");
    OperatorProof::check(&[token], "operator-token").expect("the same token")
}

#[tokio::test]
async fn list_of_one_health_reads_few_entries() {
    let test = TestDb::create().await;
    let scope = scope_of(TenantId::generate());
    insert_connections(&test, scope.tenant_id()).await;
    seed(&test, scope.tenant_id(), &HEALTH).await;
    let db = test.as_api(1);
    for state in [HealthState::Degraded, HealthState::Healthy] {
        let filter = ConnectionFilter {
            health: vec![state],
            ..ConnectionFilter::default()
        };
        let list = async |request: PageRequest| {
            let mut tx = db.begin(&scope).await.expect("begun");
            let page = connections::list(&mut tx, &scope, &filter, &request).await;
            tx.commit().await.expect("committed");
            page.expect("a page")
        };
        let of_tenant = read_pages(&test, &db, list).await;
        let list_all = async |request: PageRequest| {
            let mut tx = db.begin_for_operator(proof()).await.expect("begun");
            let page = connections::list_all(&mut tx, proof(), &filter, &request).await;
            tx.commit().await.expect("committed");
            page.expect("a page")
        };
        let of_all = read_pages(&test, &db, list_all).await;
        for (rows, reads) in [of_tenant, of_all] {
            assert_eq!(reads.table_scans, 0, "{filter:?}: {reads:?}");
            // For a rare state, Postgres may read connections of all states in order until the page
            // is full: one in forty is on it.
            let most = if state == HealthState::Degraded {
                rows * 40
            } else {
                rows * 2
            };
            let read = entries(&reads);
            assert!(
                (rows..=most).contains(&read),
                "{rows} rows cost {read} entries with {filter:?}: {reads:?}"
            );
        }
    }
}

#[tokio::test]
async fn operators_list_reads_only_its_page() {
    let test = TestDb::create().await;
    let scope = scope_of(TenantId::generate());
    insert_connections(&test, scope.tenant_id()).await;
    let db = test.as_api(1);
    for providers in [Vec::new(), vec!["github".to_owned()]] {
        let filter = ConnectionFilter {
            providers,
            ..ConnectionFilter::default()
        };
        let list = async |request: PageRequest| {
            let mut tx = db.begin_for_operator(proof()).await.expect("begun");
            let page = connections::list_all(&mut tx, proof(), &filter, &request).await;
            tx.commit().await.expect("committed");
            page.expect("a page")
        };
        let (rows, reads) = read_pages(&test, &db, list).await;
        assert_eq!(reads.table_scans, 0, "{filter:?}: {reads:?}");
        let read = entries(&reads);
        assert!(
            (rows..=rows * 3).contains(&read),
            "{rows} rows cost {read} entries with {filter:?}: {reads:?}"
        );
    }
}

#[tokio::test]
async fn review_reads_only_due_connections() {
    let test = TestDb::create().await;
    let scope = scope_of(TenantId::generate());
    insert_connections(&test, scope.tenant_id()).await;
    let later = [
        "UPDATE connection_routes SET health_review_at = now() + interval '1 hour'",
        "UPDATE connection_routes SET health_review_at = now() - interval '1 minute' \
         WHERE (tenant_id, connection_id) IN \
             (SELECT tenant_id, id FROM connections WHERE backfilled_at IS NOT NULL LIMIT 20)",
        "VACUUM ANALYZE",
    ];
    seed(&test, scope.tenant_id(), &later).await;
    let (worker, api) = (test.as_worker(1), test.as_api(1));
    let before = Reads::so_far(&test, &worker, "connection%").await;
    let review = connections::review_health(&worker, Reviewer::Worker).await;
    assert_eq!(review.expect("reviewed"), 20);
    let reads = before.delta_to(&Reads::so_far(&test, &worker, "connection%").await);
    assert_eq!(reads.table_scans, 0, "{reads:?}");
    let read: i64 = reads.by_index.values().sum();
    assert!(read <= 20 * 12, "{read} entries: {reads:?}");
    for reviewer in [Reviewer::Worker, Reviewer::Api] {
        let db = if matches!(reviewer, Reviewer::Api) {
            &api
        } else {
            &worker
        };
        let review = connections::review_health(db, reviewer).await;
        assert_eq!(review.expect("reviewed"), 0, "{reviewer:?}");
    }
    let up_to_date: i64 =
        sqlx::query_scalar("SELECT count(*) FROM connections WHERE health_reason = 'up_to_date'")
            .fetch_one(test.pool())
            .await
            .expect("counted");
    assert_eq!(up_to_date, 20, "the reviewed connections have their health");
}
