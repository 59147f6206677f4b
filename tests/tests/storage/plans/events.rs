//! Lists of events, of one tenant and of all, which read about the rows of their pages.

use secrecy::SecretString;
use shared::db::OperatorProof;
use shared::db::events::{self, EventFilter};
use shared::db::page::PageRequest;
use shared::model::TenantId;
use tests::harness::TestDb;

use super::Reads;
use super::lists::{read_pages, seed};
use crate::connections::scope_of;

/// Twenty thousand events of the tenant among those of others; every other one is of each type.
const EVENTS: [&str; 2] = [
    "INSERT INTO events (tenant_id, id, type, provider, created_at) \
     SELECT t.id, (lpad(to_hex(ms), 12, '0') || '7' || substr(h, 1, 3) || '8' \
             || substr(h, 4, 15))::uuid, \
         CASE n % 2 WHEN 0 THEN 'connection.degraded' ELSE 'connection.recovered' END, 'any', \
         to_timestamp(ms / 1000.0) \
     FROM (SELECT gen_random_uuid() AS id, 100 AS events FROM generate_series(1, 200) \
         UNION ALL SELECT $1, 20000) t, \
         generate_series(1, t.events) n, md5(t.id::text || n) h, \
         LATERAL (SELECT (extract(epoch FROM now()) * 1000)::bigint - n AS ms) created",
    "VACUUM ANALYZE",
];

fn entries(reads: &Reads) -> i64 {
    let own = reads
        .by_index
        .iter()
        .filter(|(index, _)| index.starts_with("events"));
    own.map(|(_, entries)| entries).sum()
}

#[tokio::test]
async fn event_list_reads_only_its_page() {
    let test = TestDb::create().await;
    let scope = scope_of(TenantId::generate());
    seed(&test, scope.tenant_id(), &EVENTS).await;
    let db = test.as_api(1);
    let token = SecretString::from("operator-token");
    let proof = OperatorProof::check(&[token], "operator-token").expect("the same token");
    for types in [vec![], vec!["connection.degraded".to_owned()]] {
        let filter = EventFilter {
            types,
            ..EventFilter::default()
        };
        let list = async |request: PageRequest| {
            let mut tx = db.begin(&scope).await.expect("begun");
            let page = events::list(&mut tx, &scope, &filter, &request).await;
            tx.commit().await.expect("committed");
            page.expect("a page")
        };
        let of_tenant = read_pages(&test, &db, list).await;
        let list_all = async |request: PageRequest| {
            let mut tx = db.begin_for_operator(proof).await.expect("begun");
            let page = events::list_all(&mut tx, proof, None, &filter, &request).await;
            tx.commit().await.expect("committed");
            page.expect("a page")
        };
        let of_all = read_pages(&test, &db, list_all).await;
        for (rows, reads) in [of_tenant, of_all] {
            assert_eq!(reads.table_scans, 0, "{filter:?}: {reads:?}");
            let read = entries(&reads);
            assert!(
                (rows..=rows * 12).contains(&read),
                "{rows} rows cost {read} entries with {filter:?}: {reads:?}"
            );
        }
    }
}
