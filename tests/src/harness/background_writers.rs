//! Concurrent writers of Signals with slow transactions and rollbacks, for tests of the feed.

use std::collections::HashSet;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::TestDb;

/// Writes at least `count` Signals in batches of up to `max_batch` and returns their ids.
///
/// Waits up to 8 ms between insert and commit, and rolls back one batch in twenty.
///
/// # Panics
///
/// When Postgres returns an error.
pub async fn write_signals(
    pool: PgPool,
    tenant: Uuid,
    seed: u64,
    count: usize,
    max_batch: usize,
) -> Vec<Uuid> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut committed = Vec::new();
    let mut batch = 0;
    while committed.len() < count {
        batch += 1;
        let mut tx = pool.begin().await.expect("a transaction");
        let ids: Vec<Uuid> = (0..random.random_range(1..=max_batch))
            .map(|_| Uuid::now_v7())
            .collect();
        sqlx::query(
            "INSERT INTO signals (tenant_id, id, connection_id, source, kind, dedupe_key, \
                 occurred_at, received_at, schema_version, body, raw) \
             SELECT $1, id, $1, 'any', 'issue_created', $3 || n, now(), now(), 1, $4, '{}' \
             FROM unnest($2::uuid[]) WITH ORDINALITY AS i(id, n)",
        )
        .bind(tenant)
        .bind(&ids)
        .bind(format!("{seed}:{batch}:"))
        .bind(json!({
            "actor": { "type": "unknown" },
            "subject": { "type": "issue", "id": "1", "key": null, "title": null, "url": null },
            "context": { "type": "repository", "id": "1", "name": null },
            "normalized": {},
        }))
        .execute(&mut *tx)
        .await
        .expect("inserted");
        tokio::time::sleep(Duration::from_millis(random.random_range(0..8))).await;
        if random.random_range(0..20) == 0 {
            tx.rollback().await.expect("rolled back");
        } else {
            tx.commit().await.expect("committed");
            committed.extend(ids);
        }
    }
    committed
}

/// Several concurrent writers.
pub struct BackgroundWriters(JoinSet<Vec<Uuid>>);

impl BackgroundWriters {
    /// Starts a writer with its own session per seed.
    ///
    /// # Panics
    ///
    /// When the database has no URL.
    pub fn start(
        db: &TestDb,
        tenant: Uuid,
        seeds: std::ops::Range<u64>,
        count: usize,
        max_batch: usize,
    ) -> Self {
        let sessions = u32::try_from(seeds.end - seeds.start).expect("a few");
        let pool = PgPoolOptions::new()
            .max_connections(sessions)
            .connect_lazy(db.url())
            .expect("a URL");
        let mut writers = JoinSet::new();
        for seed in seeds {
            writers.spawn(write_signals(pool.clone(), tenant, seed, count, max_batch));
        }
        Self(writers)
    }

    /// Waits for all writers and returns the ids of the committed Signals.
    ///
    /// # Panics
    ///
    /// When a writer panicked.
    pub async fn finish(self) -> HashSet<Uuid> {
        self.0.join_all().await.into_iter().flatten().collect()
    }
}
