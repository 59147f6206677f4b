//! Limits per key and tenant: requests, open streams, failed authentication.
//!
//! They are counted in memory and per process, in tables of bounded size.

mod gcra;
mod headers;
mod streams;
mod throttle;

use std::time::{Duration, Instant};

use shared::config::Reader;
use shared::model::{ApiKeyId, TenantId};

use gcra::{Gcra, Rate};
use headers::QuotaStatus;
pub(crate) use headers::{QuotaStatuses, add_rate_limit_headers};
pub(crate) use streams::{StreamPermit, Streams};
pub(crate) use throttle::{Attempt, KeyOwner, Throttle};

/// The window of the request limits.
const WINDOW: Duration = Duration::from_mins(1);

/// The settings of the limits.
#[derive(Debug, Clone)]
pub(crate) struct LimitsConfig {
    key_requests: u32,
    tenant_requests: u32,
    key_streams: usize,
    tenant_streams: usize,
}

impl LimitsConfig {
    pub(crate) fn from_reader(reader: &mut Reader<'_>) -> Self {
        const MAX_REQUESTS: u32 = 100_000_000;
        let streams = 1..=100_000_usize;
        Self {
            key_requests: reader.within("API_KEY_REQUESTS_PER_MINUTE", 60_000, 1, MAX_REQUESTS),
            tenant_requests: reader.within(
                "API_TENANT_REQUESTS_PER_MINUTE",
                120_000,
                1,
                MAX_REQUESTS,
            ),
            key_streams: reader.within(
                "API_KEY_MAX_STREAMS",
                1_000,
                *streams.start(),
                *streams.end(),
            ),
            tenant_streams: reader.within(
                "API_TENANT_MAX_STREAMS",
                2_000,
                *streams.start(),
                *streams.end(),
            ),
        }
    }
}

/// The counters of requests, streams and failed authentication.
#[derive(Debug)]
pub(crate) struct Limits {
    keys: Gcra<ApiKeyId>,
    tenants: Gcra<TenantId>,
    pub(crate) streams: Streams,
    pub(crate) throttle: Throttle,
}

/// A request over the limit of its key or tenant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OverLimit {
    pub(crate) retry_after: Duration,
}

impl Limits {
    pub(crate) fn new(config: &LimitsConfig) -> Self {
        Self {
            keys: Gcra::new(Rate::per(WINDOW, config.key_requests)),
            tenants: Gcra::new(Rate::per(WINDOW, config.tenant_requests)),
            streams: Streams::new(config.key_streams, config.tenant_streams),
            throttle: Throttle::new(),
        }
    }

    /// Counts a request of a key and records the remaining quotas in `quotas`.
    pub(crate) fn count_request(
        &self,
        KeyOwner { tenant, key }: KeyOwner,
        quotas: Option<&QuotaStatuses>,
    ) -> Result<(), OverLimit> {
        let now = Instant::now();
        let key = self.keys.try_acquire(key, now);
        // A request over the limit of its key does not count for the tenant.
        let tenant = match key.retry_after {
            None => self.tenants.try_acquire(tenant, now),
            Some(_) => self.tenants.peek(&tenant, now),
        };
        if let Some(quotas) = quotas {
            quotas.record([
                QuotaStatus::new("key", self.keys.rate(), WINDOW, &key),
                QuotaStatus::new("tenant", self.tenants.rate(), WINDOW, &tenant),
            ]);
        }
        match key.retry_after.or(tenant.retry_after) {
            Some(retry_after) => Err(OverLimit { retry_after }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(key: u32, tenant: u32) -> Limits {
        Limits::new(&LimitsConfig {
            key_requests: key,
            tenant_requests: tenant,
            key_streams: 1,
            tenant_streams: 2,
        })
    }

    fn key_of(tenant: TenantId) -> KeyOwner {
        let key = ApiKeyId::generate();
        KeyOwner { tenant, key }
    }

    #[test]
    fn exhausted_key_does_not_affect_other_keys() {
        let limits = limits(2, 5);
        let tenant = TenantId::generate();
        let (first, other) = (key_of(tenant), key_of(tenant));
        for _ in 0..2 {
            assert!(limits.count_request(first, None).is_ok());
        }
        for _ in 0..10 {
            assert!(limits.count_request(first, None).is_err());
        }
        assert!(limits.count_request(other, None).is_ok());
    }

    #[test]
    fn keys_of_a_tenant_share_its_limit() {
        let limits = limits(10, 3);
        let tenant = TenantId::generate();
        let granted = (0..5)
            .filter(|_| limits.count_request(key_of(tenant), None).is_ok())
            .count();
        assert_eq!(granted, 3);
        let other = key_of(TenantId::generate());
        assert!(limits.count_request(other, None).is_ok());
    }
}
