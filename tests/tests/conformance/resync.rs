//! The read after an expired cursor.

use std::collections::BTreeMap;

use tests::harness::System;

use crate::provider::{Provider, with_history};

pub(crate) async fn invalid_cursor_causes_bounded_resync(provider: &Provider) {
    let system = with_history(20).start().await;
    let connected = provider.connect(&system, "Acme", 0).await;
    connected
        .tenant
        .assert_equals_ledger(&connected.account)
        .await;
    // The connection is older than a backfill of now.
    sqlx::query(
        "UPDATE cursors SET cursor = '{\"of\":\"another version\"}', version = version + 1, \
             backfill_from = backfill_from - interval '1 day'",
    )
    .execute(system.db.pool())
    .await
    .expect("invalid cursors");
    let floors = floors(&system).await;
    provider.generate(&system, &connected.account, 30).await;
    connected
        .tenant
        .assert_equals_ledger_after_poll(&connected.account)
        .await;
    let after = self::floors(&system).await;
    for (stream, floor) in &floors {
        assert_eq!(after.get(stream), Some(floor), "the floor of {stream}");
    }
    let bounded: i64 =
        sqlx::query_scalar("SELECT count(*) FROM cursors WHERE resync_from > backfill_from")
            .fetch_one(system.db.pool())
            .await
            .expect("the query result");
    assert!(bounded > 0, "no stream was read again");
}

/// The floors of all streams.
async fn floors(system: &System) -> BTreeMap<String, String> {
    let floors: Vec<(String, String)> =
        sqlx::query_as("SELECT stream, backfill_from::text FROM cursors")
            .fetch_all(system.db.pool())
            .await
            .expect("the query result");
    floors.into_iter().collect()
}
