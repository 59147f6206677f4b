//! Cache of a provider's signing keys (JWKS, RFC 7517), which are public and rotate.
//!
//! A lookup answers from memory and never waits. If the keys are unknown or old, it starts a fetch
//! in the background, at most once per minute: a sender of made-up key ids cannot cause more calls.
//! Keys are used for some time after they are old, so that a short outage of the provider has no
//! effect, and not after that, so that a withdrawn key is not trusted long.

mod freshness;

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use http::{Method, StatusCode};
use tokio::runtime::Handle;
use url::Url;

use super::{Charge, HttpError, LimitObservation, Outbound, Permit, RateLimited, RateLimiter};
use crate::clock::SharedClock;
use crate::crypto::KeySet;

/// Minimum time between two fetches, failed ones included.
const MIN_FETCH_INTERVAL: TimeDelta = TimeDelta::minutes(1);
/// Time for which keys are used after they are old.
const MAX_STALE: TimeDelta = TimeDelta::hours(1);
/// Timeouts of connecting and of the call, together below the interval of fetches.
const TIMEOUTS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(10));
/// Maximum size of a response. Google's has two kilobytes.
const MAX_BODY: usize = 64 * 1024;
/// The calls belong to no account of the provider.
const CHARGE: Charge<'static> = Charge::new("app", "fetch_keys");

/// A provider's signing keys; clones share them.
#[derive(Clone)]
pub struct Jwks(Arc<Shared>);

struct Shared {
    provider: &'static str,
    url: Url,
    clock: SharedClock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    keys: Option<CachedKeys>,
    /// When the last fetch began.
    fetched_at: Option<DateTime<Utc>>,
}

/// Keys of the last successful fetch.
struct CachedKeys {
    keys: Arc<KeySet>,
    fetched_at: DateTime<Utc>,
    /// Time for which they need no fetch.
    max_age: TimeDelta,
}

/// The reason why a fetch brought no keys.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("the call failed")]
    Http(#[from] HttpError),
    #[error("the provider responded with {0}")]
    Status(StatusCode),
    #[error("the response is not a key set")]
    Malformed,
    #[error("the response has no usable key")]
    NoKeys,
}

impl Jwks {
    /// A cache of the keys at this URL, which fetches nothing yet.
    pub fn new(provider: &'static str, url: Url, clock: SharedClock) -> Self {
        Self(Arc::new(Shared {
            provider,
            url,
            clock,
            state: Mutex::default(),
        }))
    }

    /// Starts a fetch, so that the first lookup has keys.
    pub fn prepare(&self) {
        let now = self.0.clock.now();
        let mut state = self.0.lock();
        self.fetch_if_due(&mut state, now);
    }

    /// The keys, if one of them has this id.
    ///
    /// `None` if it is not known yet: a fetch is in progress or becomes possible within a minute.
    pub fn keys_with(&self, id: &str) -> Option<Arc<KeySet>> {
        let now = self.0.clock.now();
        let mut state = self.0.lock();
        let known = state.keys.as_ref().and_then(|cached| cached.usable(now));
        let known = known.filter(|keys| keys.contains(id));
        let is_fresh = state.keys.as_ref().is_some_and(|keys| keys.is_fresh(now));
        if known.is_none() || !is_fresh {
            self.fetch_if_due(&mut state, now);
        }
        known
    }

    /// Starts a fetch unless one began within the last minute.
    fn fetch_if_due(&self, state: &mut State, now: DateTime<Utc>) {
        let is_due = state
            .fetched_at
            .is_none_or(|last| !within(last, MIN_FETCH_INTERVAL).contains(&now));
        // Outside of a runtime nothing can wait for the response.
        let Some(runtime) = Handle::try_current().ok().filter(|_| is_due) else {
            return;
        };
        state.fetched_at = Some(now);
        let shared = Arc::clone(&self.0);
        runtime.spawn(async move { shared.refresh().await });
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches the keys; the known ones stay if that fails.
    async fn refresh(&self) {
        match self.fetch().await {
            Ok(cached) => {
                tracing::info!(provider = self.provider, keys = ?cached.keys, "fetched signing keys");
                self.lock().keys = Some(cached);
            }
            Err(error) => tracing::warn!(
                provider = self.provider,
                error = &error as &dyn std::error::Error,
                "failed to fetch signing keys"
            ),
        }
    }

    async fn fetch(&self) -> Result<CachedKeys, FetchError> {
        // Fetches are hours apart, so no socket is kept.
        let (connect, call) = TIMEOUTS;
        let outbound = Outbound::builder(
            self.provider,
            Arc::new(MinFetchInterval),
            self.clock.clone(),
        )
        .allow(&self.url)
        .timeouts(connect, call)
        .max_body(MAX_BODY)
        .build()?;
        let request = outbound.request(Method::GET, self.url.clone());
        let response = outbound.send(&CHARGE, request).await?;
        if response.status != StatusCode::OK {
            return Err(FetchError::Status(response.status));
        }
        let keys = KeySet::parse(&response.body).ok_or(FetchError::Malformed)?;
        if keys.is_empty() {
            return Err(FetchError::NoKeys);
        }
        let fetched_at = self.clock.now();
        Ok(CachedKeys {
            keys: Arc::new(keys),
            fetched_at,
            max_age: freshness::max_age(&response.headers, fetched_at),
        })
    }
}

impl CachedKeys {
    fn is_fresh(&self, now: DateTime<Utc>) -> bool {
        within(self.fetched_at, self.max_age).contains(&now)
    }

    /// The keys, unless they are too old.
    fn usable(&self, now: DateTime<Utc>) -> Option<Arc<KeySet>> {
        within(self.fetched_at, self.max_age + MAX_STALE)
            .contains(&now)
            .then(|| Arc::clone(&self.keys))
    }
}

/// The time after `start`.
///
/// It does not contain times before, so that a clock that was set back does not prolong it.
fn within(start: DateTime<Utc>, duration: TimeDelta) -> Range<DateTime<Utc>> {
    start..start + duration
}

impl std::fmt::Debug for Jwks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jwks")
            .field("provider", &self.0.provider)
            .finish_non_exhaustive()
    }
}

/// The rate limiter of fetches: the cache itself limits them to one per minute.
struct MinFetchInterval;

#[async_trait]
impl RateLimiter for MinFetchInterval {
    async fn admit(&self, _: &'static str, _: &Charge<'_>) -> Result<Permit, RateLimited> {
        Ok(Permit::default())
    }

    async fn observe(&self, _: &'static str, _: &Charge<'_>, _: LimitObservation) {}
}

#[cfg(test)]
mod tests;
