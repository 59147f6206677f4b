//! The number of open streams per key and tenant.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use metrics::gauge;
use shared::model::{ApiKeyId, TenantId};
use shared::telemetry::names;

/// The limits of open streams and their counts in this process.
#[derive(Debug)]
pub(crate) struct Streams {
    key_limit: usize,
    tenant_limit: usize,
    open: Arc<Mutex<OpenCounts>>,
}

#[derive(Debug, Default)]
struct OpenCounts {
    keys: HashMap<ApiKeyId, usize>,
    tenants: HashMap<TenantId, usize>,
}

/// A permit for one open stream; it counts until it is dropped.
#[derive(Debug)]
pub(crate) struct StreamPermit {
    open: Arc<Mutex<OpenCounts>>,
    key: Option<ApiKeyId>,
    tenant: TenantId,
}

impl Streams {
    pub(super) fn new(key_limit: usize, tenant_limit: usize) -> Self {
        Self {
            key_limit,
            tenant_limit,
            open: Arc::default(),
        }
    }

    /// Opens a stream; `None` if the key or the tenant has reached its limit.
    ///
    /// An operator's stream counts for the tenant only.
    pub(crate) fn open(&self, tenant: TenantId, key: Option<ApiKeyId>) -> Option<StreamPermit> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let held = |count: Option<&usize>| count.copied().unwrap_or(0);
        let is_over_limit = held(open.tenants.get(&tenant)) >= self.tenant_limit
            || key.is_some_and(|key| held(open.keys.get(&key)) >= self.key_limit);
        if is_over_limit {
            return None;
        }
        *open.tenants.entry(tenant).or_default() += 1;
        if let Some(key) = key {
            *open.keys.entry(key).or_default() += 1;
        }
        gauge!(names::SSE_STREAMS).increment(1.0);
        Some(StreamPermit {
            open: Arc::clone(&self.open),
            key,
            tenant,
        })
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        gauge!(names::SSE_STREAMS).decrement(1.0);
        release(&mut open.tenants, &self.tenant);
        if let Some(key) = self.key {
            release(&mut open.keys, &key);
        }
    }
}

fn release<K: Eq + std::hash::Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_count_until_they_end() {
        let streams = Streams::new(1, 2);
        let tenant = TenantId::generate();
        let keys = [(); 3].map(|()| Some(ApiKeyId::generate()));
        let first = streams.open(tenant, keys[0]).expect("a stream");
        assert!(streams.open(tenant, keys[0]).is_none(), "the key's limit");
        let second = streams.open(tenant, keys[1]).expect("a stream");
        assert!(
            streams.open(tenant, keys[2]).is_none(),
            "the tenant's limit"
        );
        assert!(streams.open(TenantId::generate(), keys[2]).is_some());
        drop(first);
        assert!(streams.open(tenant, keys[2]).is_some());
        drop(second);
        let open = streams.open.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(open.keys.is_empty() && open.tenants.is_empty());
    }
}
