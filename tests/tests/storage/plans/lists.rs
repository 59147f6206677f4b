//! The lists of the API, which read about the rows of their pages, and objects read by id.

use shared::db::Db;
use shared::db::connections::{self, ConnectionFilter};
use shared::db::deliveries::{self, DeliveryFilter, DeliveryOutcome};
use shared::db::jobs::{self, JobFilter};
use shared::db::page::{Page, PageRequest};
use shared::model::{ConnectionId, JobKind, JobState, TenantId};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tests::harness::TestDb;

use super::{CLAIMS, Reads};
use crate::connections::scope_of;

/// Number of connections of the tenant whose connections are listed.
const CONNECTIONS: i64 = 5_000;

/// Executes statements in a session of their own, whose reads are counted before it ends.
pub(super) async fn seed(test: &TestDb, tenant: TenantId, statements: &[&str]) {
    let mut session = PgConnection::connect(test.url()).await.expect("a session");
    for statement in statements {
        let mut query = sqlx::query(AssertSqlSafe((*statement).to_owned()));
        if statement.contains("$1") {
            query = query.bind(tenant);
        }
        query.execute(&mut session).await.expect("executed");
    }
    sqlx::query("SELECT pg_stat_force_next_flush()")
        .execute(&mut session)
        .await
        .expect("flushed");
    session.close().await.expect("closed");
}

/// Reads the first and the second page of a list several times, and returns what that read.
///
/// Each page is full. The last times may be those of a generic plan.
pub(super) async fn read_pages<T>(
    test: &TestDb,
    db: &Db,
    list: impl AsyncFn(PageRequest) -> Page<T>,
) -> (i64, Reads) {
    let before = Reads::so_far(test, db, "%").await;
    let (mut rows, mut cursor) = (0, None);
    for _ in 0..CLAIMS {
        let request = PageRequest::parse(cursor.as_deref(), None).expect("a cursor of ours");
        let page = list(request).await;
        assert_eq!(page.items.len(), request.limit as usize);
        assert!(page.next_cursor.is_some(), "more pages follow");
        rows += request.fetch_limit();
        cursor = page.next_cursor.filter(|_| cursor.is_none());
    }
    (rows, before.delta_to(&Reads::so_far(test, db, "%").await))
}

#[tokio::test]
async fn delivery_list_reads_only_its_page() {
    let test = TestDb::create().await;
    let scope = scope_of(TenantId::generate());
    // Five thousand deliveries of the tenant among those of others. Their ids contain the time of
    // receipt.
    let statements = [
        "INSERT INTO deliveries (tenant_id, received_at, id, provider, account_id, dedupe_id, \
             event, headers, body, outcome) \
         SELECT t.id, to_timestamp(ms / 1000.0), \
             (lpad(to_hex(ms), 12, '0') || '7' || substr(h, 1, 3) || '8' || substr(h, 4, 15))::uuid, \
             'github', '1', n::text, 'issues', '{}', convert_to(repeat('a body ', 20), 'UTF8'), \
             'processed' \
         FROM (SELECT gen_random_uuid() AS id, 100 AS deliveries FROM generate_series(1, 200) \
             UNION ALL SELECT $1, 5000) t, \
             generate_series(1, t.deliveries) n, md5(t.id::text || n) h, \
             LATERAL (SELECT (extract(epoch FROM now()) * 1000)::bigint - n AS ms) received",
        "VACUUM ANALYZE",
    ];
    seed(&test, scope.tenant_id(), &statements).await;
    let db = test.as_api(1);
    let of_provider = DeliveryFilter {
        provider: Some("github".to_owned()),
        ..DeliveryFilter::default()
    };
    let processed = DeliveryFilter {
        outcome: Some(DeliveryOutcome::Processed),
        ..of_provider.clone()
    };
    for filter in [DeliveryFilter::default(), of_provider, processed] {
        let list = async |request: PageRequest| {
            let mut tx = db.begin(&scope).await.expect("begun");
            let page = deliveries::list(&mut tx, &scope, &filter, &request).await;
            tx.commit().await.expect("committed");
            page.expect("a page")
        };
        let (rows, reads) = read_pages(&test, &db, list).await;
        let read: i64 = reads.by_index.values().sum();
        // All rows come from an index: fewer entries mean that a partition was read instead.
        assert!(
            (rows..=rows * 2).contains(&read),
            "{rows} rows cost {read} entries with {filter:?}: {reads:?}"
        );
    }
}

/// Inserts [`CONNECTIONS`] of a tenant among as many of other tenants.
///
/// Half of them are at each of two providers, and half of each half are behind. Each has a route,
/// two streams, a subscription, a credential and activity.
pub(super) async fn insert_connections(test: &TestDb, tenant: TenantId) {
    let statements = [
        "INSERT INTO tenants (id, name) VALUES ($1, 'Acme')",
        "INSERT INTO tenants (id, name) \
         SELECT gen_random_uuid(), n::text FROM generate_series(1, 200) n",
        "INSERT INTO connections (tenant_id, id, provider, status, account_id, \
             poll_interval_seconds, backfill_started_at, backfilled_at) \
         SELECT t.id, gen_random_uuid(), CASE n % 2 WHEN 0 THEN 'github' ELSE 'slack' END, \
             'active', n::text, 300, now(), CASE n / 2 % 2 WHEN 0 THEN now() END \
         FROM tenants t, \
             generate_series(1, CASE t.name WHEN 'Acme' THEN 5000 ELSE 25 END) n",
        "INSERT INTO connection_routes (tenant_id, connection_id, provider, account_id, exclusive, \
             polling, poll_interval_seconds) \
         SELECT tenant_id, id, provider, account_id, false, true, 300 FROM connections",
        "INSERT INTO cursors (tenant_id, connection_id, stream, target, backfill_from, listed_at) \
         SELECT tenant_id, id, stream, '{}', now(), now() \
         FROM connections, unnest('{issues:1,comments:1}'::text[]) stream",
        "INSERT INTO subscriptions (tenant_id, connection_id, id, resource) \
         SELECT tenant_id, id, gen_random_uuid(), 'issues' FROM connections",
        "INSERT INTO credentials (tenant_id, connection_id, holder) \
         SELECT tenant_id, id, 'account' FROM connections",
        "INSERT INTO connection_activity (tenant_id, connection_id) \
         SELECT tenant_id, id FROM connections",
        "VACUUM ANALYZE",
    ];
    seed(test, tenant, &statements).await;
}

#[tokio::test]
async fn connection_list_reads_only_its_page() {
    let test = TestDb::create().await;
    let scope = scope_of(TenantId::generate());
    insert_connections(&test, scope.tenant_id()).await;
    let db = test.as_api(1);
    let github = || vec!["github".to_owned()];
    let filters = [
        (Vec::new(), None),
        (github(), None),
        (Vec::new(), Some(true)),
        (Vec::new(), Some(false)),
        (github(), Some(true)),
    ];
    for (providers, is_behind) in filters {
        let filter = ConnectionFilter {
            providers,
            is_behind,
            ..ConnectionFilter::default()
        };
        let list = async |request: PageRequest| {
            let mut tx = db.begin(&scope).await.expect("begun");
            let page = connections::list(&mut tx, &scope, &filter, &request).await;
            tx.commit().await.expect("committed");
            page.expect("a page")
        };
        let (rows, reads) = read_pages(&test, &db, list).await;
        assert_eq!(reads.table_scans, 0, "{filter:?}: {reads:?}");
        // Postgres may sort the connections that are behind, or those that are not: it then reads all
        // connections of the tenant, and none of another. Half of them are at the provider.
        let most = match filter.is_behind {
            Some(_) => CLAIMS * CONNECTIONS,
            None => rows * 3,
        };
        let own = [
            "connections_pkey",
            "connections_account_once",
            "connections_health",
        ];
        let read: i64 = own.map(|index| reads.of(index)).iter().sum();
        assert!(
            (rows..=most).contains(&read),
            "{rows} rows cost {read} entries with {filter:?}: {reads:?}"
        );
        // A route, a subscription and at most two streams each.
        let joined: i64 = reads.by_index.values().sum::<i64>() - read;
        assert!(
            joined <= most * 5,
            "{rows} rows cost {joined} joined entries with {filter:?}: {reads:?}"
        );
    }
}

#[tokio::test]
async fn connection_is_read_by_id() {
    let test = TestDb::create().await;
    let scope = scope_of(TenantId::generate());
    insert_connections(&test, scope.tenant_id()).await;
    let id: ConnectionId =
        sqlx::query_scalar("SELECT id FROM connections WHERE tenant_id = $1 LIMIT 1")
            .bind(scope.tenant_id())
            .fetch_one(test.pool())
            .await
            .expect("a connection");
    let db = test.as_api(1);
    let before = Reads::so_far(&test, &db, "%").await;
    for _ in 0..CLAIMS {
        let mut tx = db.begin(&scope).await.expect("begun");
        let found = connections::get(&mut tx, &scope, id).await;
        assert!(found.expect("the query result").is_some());
        tx.commit().await.expect("committed");
    }
    let reads = before.delta_to(&Reads::so_far(&test, &db, "%").await);
    assert_eq!(reads.table_scans, 0, "{reads:?}");
    // The connection, its route, its subscription, its credential and at most two streams.
    let read: i64 = reads.by_index.values().sum();
    assert!(read <= CLAIMS * 6, "{read} entries: {reads:?}");
}

/// Inserts jobs of a tenant among those of others.
///
/// Three thousand are queued and twenty thousand finished, one in two hundred of them dead-lettered.
async fn insert_jobs(test: &TestDb, tenant: TenantId) {
    let statements = [
        "INSERT INTO jobs (tenant_id, id, kind, provider, priority, payload) \
         SELECT t.id, gen_random_uuid(), 'redeliver_webhooks', \
             CASE n % 2 WHEN 0 THEN 'github' ELSE 'slack' END, 60, '{\"kind\":\"redeliver_webhooks\"}' \
         FROM (SELECT gen_random_uuid() AS id, 25 AS jobs FROM generate_series(1, 200) \
             UNION ALL SELECT $1, 3000) t, generate_series(1, t.jobs) n",
        "INSERT INTO job_history (tenant_id, id, kind, provider, state, priority, attempts, \
             max_attempts, payload, created_at) \
         SELECT t.id, gen_random_uuid(), 'redeliver_webhooks', \
             CASE n % 2 WHEN 0 THEN 'github' ELSE 'slack' END, \
             CASE n % 200 WHEN 0 THEN 'dead' ELSE 'succeeded' END::job_state, 60, 1, 3, \
             '{\"kind\":\"redeliver_webhooks\"}', now() \
         FROM (SELECT gen_random_uuid() AS id, 100 AS jobs FROM generate_series(1, 200) \
             UNION ALL SELECT $1, 21000) t, generate_series(1, t.jobs) n",
        "VACUUM ANALYZE",
    ];
    seed(test, tenant, &statements).await;
}

#[tokio::test]
async fn job_list_reads_only_its_page() {
    let test = TestDb::create().await;
    let scope = scope_of(TenantId::generate());
    insert_jobs(&test, scope.tenant_id()).await;
    let db = test.as_api(1);
    let in_state = |state| JobFilter {
        state: Some(state),
        ..JobFilter::default()
    };
    let github = JobFilter {
        provider: Some("github".to_owned()),
        ..JobFilter::default()
    };
    let filters = [
        JobFilter::default(),
        github.clone(),
        JobFilter {
            kind: Some(JobKind::RedeliverWebhooks),
            ..github
        },
        in_state(JobState::Queued),
        in_state(JobState::Succeeded),
        in_state(JobState::Dead),
    ];
    for filter in filters {
        let list = async |request: PageRequest| {
            let mut tx = db.begin(&scope).await.expect("begun");
            let page = jobs::list(&mut tx, &scope, &filter, &request).await;
            tx.commit().await.expect("committed");
            page.expect("a page")
        };
        let (rows, reads) = read_pages(&test, &db, list).await;
        // All rows come from an index; only empty partitions are scanned. Without a state, a page is
        // read from both tables; one row in two is of the provider.
        let read: i64 = reads.by_index.values().sum();
        assert!(
            (rows..=rows * 5).contains(&read),
            "{rows} rows cost {read} entries with {filter:?}: {reads:?}"
        );
    }
}

#[tokio::test]
async fn job_is_read_by_id() {
    let test = TestDb::create().await;
    let scope = scope_of(TenantId::generate());
    insert_jobs(&test, scope.tenant_id()).await;
    let db = test.as_api(1);
    let mut tx = db.begin(&scope).await.expect("begun");
    let first = PageRequest::parse(None, None).expect("the first page");
    let page = jobs::list(&mut tx, &scope, &JobFilter::default(), &first).await;
    let page = page.expect("a page").items;
    tx.commit().await.expect("committed");
    let before = Reads::so_far(&test, &db, "%").await;
    for job in &page {
        let mut tx = db.begin(&scope).await.expect("begun");
        let found = jobs::get(&mut tx, &scope, job.id).await;
        assert_eq!(found.expect("the query result").expect("a job").id, job.id);
        tx.commit().await.expect("committed");
    }
    let reads = before.delta_to(&Reads::so_far(&test, &db, "%").await);
    // Only empty partitions are scanned.
    let read: i64 = reads.by_index.values().sum();
    let jobs = i64::try_from(page.len()).expect("a page");
    assert_eq!(read, jobs, "{jobs} jobs cost {read} entries: {reads:?}");
}
