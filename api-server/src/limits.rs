//! What one key and one tenant may ask of this process: requests, streams, failed attempts.
//!
//! Limits are counted in memory, per process, and every table of counts is bounded.

mod headers;
mod meter;
mod streams;
mod throttle;

use std::time::{Duration, Instant};

use shared::config::Reader;
use shared::ids::{ApiKeyId, TenantId};

use headers::Share;
pub(crate) use headers::{Shares, show_limits};
use meter::{Meter, Rate};
pub(crate) use streams::{StreamPermit, Streams};
pub(crate) use throttle::{Attempt, KeyOwner, Throttle};

/// The window that the limits on requests are stated for.
const WINDOW: Duration = Duration::from_mins(1);

/// The limits of a key and of a tenant.
#[derive(Debug, Clone)]
pub(crate) struct LimitsConfig {
    key_requests: u32,
    tenant_requests: u32,
    key_streams: usize,
    tenant_streams: usize,
}

impl LimitsConfig {
    pub(crate) fn from_reader(reader: &mut Reader<'_>) -> Self {
        const MOST: u32 = 100_000_000;
        let streams = 1..=100_000_usize;
        Self {
            key_requests: reader.within("API_KEY_REQUESTS_PER_MINUTE", 60_000, 1, MOST),
            tenant_requests: reader.within("API_TENANT_REQUESTS_PER_MINUTE", 120_000, 1, MOST),
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

/// Requests and streams of keys and tenants, and failed attempts to authenticate.
#[derive(Debug)]
pub(crate) struct Limits {
    keys: Meter<ApiKeyId>,
    tenants: Meter<TenantId>,
    pub(crate) streams: Streams,
    pub(crate) throttle: Throttle,
}

/// A request that is over its key's or tenant's limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OverLimit {
    pub(crate) retry_after: Duration,
}

impl Limits {
    pub(crate) fn new(config: &LimitsConfig) -> Self {
        Self {
            keys: Meter::new(Rate::per(WINDOW, config.key_requests)),
            tenants: Meter::new(Rate::per(WINDOW, config.tenant_requests)),
            streams: Streams::new(config.key_streams, config.tenant_streams),
            throttle: Throttle::new(),
        }
    }

    /// Counts a request of a key; what is left to key and tenant is noted in `shares`.
    pub(crate) fn count_request(
        &self,
        KeyOwner { tenant, key }: KeyOwner,
        shares: Option<&Shares>,
    ) -> Result<(), OverLimit> {
        let now = Instant::now();
        let key = self.keys.spend(key, now);
        // What its key is refused is no request of the tenant.
        let tenant = match key.retry_after {
            None => self.tenants.spend(tenant, now),
            Some(_) => self.tenants.look(&tenant, now),
        };
        if let Some(shares) = shares {
            shares.note([
                Share::new("key", self.keys.rate(), WINDOW, &key),
                Share::new("tenant", self.tenants.rate(), WINDOW, &tenant),
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
    fn one_key_over_its_limit_leaves_the_tenants_other_keys_alone() {
        let limits = limits(2, 5);
        let tenant = TenantId::generate();
        let (one, other) = (key_of(tenant), key_of(tenant));
        for _ in 0..2 {
            assert!(limits.count_request(one, None).is_ok());
        }
        for _ in 0..10 {
            assert!(limits.count_request(one, None).is_err());
        }
        assert!(limits.count_request(other, None).is_ok());
    }

    #[test]
    fn keys_share_their_tenants_limit() {
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
