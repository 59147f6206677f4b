//! The headers `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

use super::gcra::{Quota, Rate};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// A limit and its remaining quota.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QuotaStatus {
    name: &'static str,
    quota: u32,
    window: Duration,
    remaining: u32,
    reset: Duration,
}

impl QuotaStatus {
    pub(super) fn new(name: &'static str, rate: Rate, window: Duration, quota: &Quota) -> Self {
        Self {
            name,
            quota: rate.burst(),
            window,
            remaining: quota.remaining,
            reset: quota.reset_after,
        }
    }
}

/// The quotas of a request, which authentication records for the response's headers.
#[derive(Debug, Clone, Default)]
pub(crate) struct QuotaStatuses(Arc<Mutex<Vec<QuotaStatus>>>);

impl QuotaStatuses {
    pub(super) fn record(&self, quotas: [QuotaStatus; 2]) {
        *self.lock() = quotas.to_vec();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<QuotaStatus>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn header(&self, item: impl Fn(&QuotaStatus) -> String) -> Option<HeaderValue> {
        let items: Vec<String> = self.lock().iter().map(item).collect();
        if items.is_empty() {
            return None;
        }
        HeaderValue::from_str(&items.join(", ")).ok()
    }
}

/// Adds the headers to responses to API keys.
pub(crate) async fn add_rate_limit_headers(mut request: Request, next: Next) -> Response {
    let quotas = QuotaStatuses::default();
    request.extensions_mut().insert(quotas.clone());
    let mut response = next.run(request).await;
    let policy = quotas.header(|status| {
        let seconds = status.window.as_secs();
        format!("\"{}\";q={};w={seconds}", status.name, status.quota)
    });
    let remaining = quotas.header(|status| {
        let seconds = status.reset.as_millis().div_ceil(1_000);
        format!("\"{}\";r={};t={seconds}", status.name, status.remaining)
    });
    for (name, value) in [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, remaining)] {
        if let Some(value) = value {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
