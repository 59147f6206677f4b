//! A rate limiter that admits every call.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::clock::ManualClock;
use crate::connectors::ConnectorDeps;
use crate::http::{Charge, LimitObservation, Permit, RateLimited, RateLimiter};

/// Admits every call and records the observations, each with its account and operation.
#[derive(Default)]
pub(in super::super) struct NoopLimiter(Mutex<Vec<(String, &'static str, LimitObservation)>>);

impl NoopLimiter {
    pub(in super::super) fn seen(&self) -> Vec<(String, &'static str, LimitObservation)> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[async_trait]
impl RateLimiter for NoopLimiter {
    async fn admit(&self, _: &'static str, _: &Charge<'_>) -> Result<Permit, RateLimited> {
        Ok(Permit::default())
    }

    async fn observe(&self, _: &'static str, charge: &Charge<'_>, seen: LimitObservation) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((
            charge.account.to_owned(),
            charge.operation,
            seen,
        ));
    }
}

/// Dependencies of a connector with a fixed clock.
pub(in super::super) fn deps(now: DateTime<Utc>) -> (ConnectorDeps, Arc<NoopLimiter>) {
    let rate_limiter = Arc::new(NoopLimiter::default());
    let deps = ConnectorDeps {
        clock: Arc::new(ManualClock::new(now)),
        rate_limiter: rate_limiter.clone(),
    };
    (deps, rate_limiter)
}
