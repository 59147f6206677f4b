//! A rate limiter for the few calls of the checks.

use std::sync::Arc;

use async_trait::async_trait;
use shared::http::{Charge, LimitObservation, Permit, RateLimited, RateLimiter};
use tokio::sync::Semaphore;

/// Admits one call at a time.
///
/// The processes' limiter needs the database, without which the apps are checked as well.
#[derive(Debug)]
pub(super) struct OneAtATime(Arc<Semaphore>);

impl Default for OneAtATime {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

#[async_trait]
impl RateLimiter for OneAtATime {
    async fn admit(&self, _: &'static str, _: &Charge<'_>) -> Result<Permit, RateLimited> {
        let permit = Arc::clone(&self.0).acquire_owned().await;
        Ok(Permit::new(permit.into_iter().collect()))
    }

    /// A limit that a provider states is a finding of the call.
    async fn observe(&self, _: &'static str, _: &Charge<'_>, _: LimitObservation) {}
}
