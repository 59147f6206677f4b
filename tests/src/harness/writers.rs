//! Writers of Signals that nobody waits for: transactions that take their time, and some that
//! are rolled back. What a feed makes of them is the question.

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

/// Writes `count` Signals or a few more in batches of up to `most`, waits a little between
/// insert and commit, and rolls one batch in twenty back. Answers the ids of what was committed.
///
/// # Panics
///
/// When Postgres refuses.
pub async fn write_signals(
    pool: PgPool,
    tenant: Uuid,
    seed: u64,
    count: usize,
    most: usize,
) -> Vec<Uuid> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut committed = Vec::new();
    let mut batch = 0;
    while committed.len() < count {
        batch += 1;
        let mut tx = pool.begin().await.expect("a transaction");
        let ids: Vec<Uuid> = (0..random.random_range(1..=most))
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

/// Several writers at once.
pub struct Writers(JoinSet<Vec<Uuid>>);

impl Writers {
    /// Starts one for each seed, with a connection of its own, that writes `count` Signals in
    /// batches of up to `most`.
    ///
    /// # Panics
    ///
    /// When the database has no URL.
    pub fn start(
        db: &TestDb,
        tenant: Uuid,
        seeds: std::ops::Range<u64>,
        count: usize,
        most: usize,
    ) -> Self {
        let connections = u32::try_from(seeds.end - seeds.start).expect("a few");
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .connect_lazy(db.url())
            .expect("a URL");
        let mut writers = JoinSet::new();
        for seed in seeds {
            writers.spawn(write_signals(pool.clone(), tenant, seed, count, most));
        }
        Self(writers)
    }

    /// Waits for all of them; answers the ids of what was committed.
    ///
    /// # Panics
    ///
    /// When one did.
    pub async fn finish(self) -> HashSet<Uuid> {
        self.0.join_all().await.into_iter().flatten().collect()
    }
}
