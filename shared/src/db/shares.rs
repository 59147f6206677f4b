//! A tenant's share of the pool: one tenant cannot take every connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::ids::TenantId;

/// Tenants that are kept although nobody uses or waits for their share.
const KEPT: usize = 1_000;

/// The shares of a pool.
#[derive(Debug)]
pub(super) struct Shares {
    /// Connections that one tenant may hold at once.
    share: usize,
    acquire_timeout: Duration,
    tenants: Mutex<HashMap<TenantId, Arc<Semaphore>>>,
}

impl Shares {
    /// A tenant gets half of the pool, and never all of it where it has more than one.
    pub(super) fn new(connections: u32, acquire_timeout: Duration) -> Self {
        let connections = usize::try_from(connections).unwrap_or(usize::MAX);
        Self {
            share: connections.div_ceil(2).max(1),
            acquire_timeout,
            tenants: Mutex::default(),
        }
    }

    /// Waits for a place in the tenant's share as long as for a connection of the pool.
    pub(super) async fn acquire(
        &self,
        tenant: TenantId,
    ) -> Result<OwnedSemaphorePermit, sqlx::Error> {
        let share = self.of(tenant);
        match timeout(self.acquire_timeout, share.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(sqlx::Error::PoolClosed),
            Err(_) => Err(sqlx::Error::PoolTimedOut),
        }
    }

    fn of(&self, tenant: TenantId) -> Arc<Semaphore> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if tenants.len() > KEPT && !tenants.contains_key(&tenant) {
            // A permit or a waiter holds a reference of its own.
            tenants.retain(|_, share| Arc::strong_count(share) > 1);
        }
        let share = tenants
            .entry(tenant)
            .or_insert_with(|| Arc::new(Semaphore::new(self.share)));
        Arc::clone(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_tenant_leaves_connections_to_others() {
        let shares = Shares::new(4, Duration::from_millis(20));
        let (one, other) = (TenantId::generate(), TenantId::generate());
        let held = [
            shares.acquire(one).await.expect("a place"),
            shares.acquire(one).await.expect("a place"),
        ];
        assert!(matches!(
            shares.acquire(one).await,
            Err(sqlx::Error::PoolTimedOut)
        ));
        drop(shares.acquire(other).await.expect("a place"));
        drop(held);
        drop(shares.acquire(one).await.expect("a place"));
    }

    #[tokio::test]
    async fn shares_of_nobody_are_forgotten() {
        let shares = Shares::new(2, Duration::from_millis(20));
        let held_by = TenantId::generate();
        let _held = shares.acquire(held_by).await.expect("a place");
        for _ in 0..3 * KEPT {
            drop(shares.acquire(TenantId::generate()).await.expect("a place"));
        }
        let tenants = shares
            .tenants
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        assert!(tenants.len() <= KEPT + 1, "{}", tenants.len());
        assert!(tenants.contains_key(&held_by));
    }
}
