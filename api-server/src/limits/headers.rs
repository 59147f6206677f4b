//! `RateLimit` and `RateLimit-Policy`: what a key may ask and what is left of it, as
//! draft-ietf-httpapi-ratelimit-headers says it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

use super::meter::{Left, Rate};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// One limit and what is left of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    name: &'static str,
    quota: u32,
    window: Duration,
    remaining: u32,
    reset: Duration,
}

impl Share {
    pub(super) fn new(name: &'static str, rate: Rate, window: Duration, left: &Left) -> Self {
        Self {
            name,
            quota: rate.burst(),
            window,
            remaining: left.remaining,
            reset: left.full_in,
        }
    }
}

/// Where authentication notes a request's shares, for the answer's headers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shares(Arc<Mutex<Vec<Share>>>);

impl Shares {
    pub(super) fn note(&self, shares: [Share; 2]) {
        *self.lock() = shares.to_vec();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Share>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn header(&self, item: impl Fn(&Share) -> String) -> Option<HeaderValue> {
        let items: Vec<String> = self.lock().iter().map(item).collect();
        if items.is_empty() {
            return None;
        }
        HeaderValue::from_str(&items.join(", ")).ok()
    }
}

/// Adds the headers to the answer of a request that a key made.
pub(crate) async fn show_limits(mut request: Request, next: Next) -> Response {
    let shares = Shares::default();
    request.extensions_mut().insert(shares.clone());
    let mut response = next.run(request).await;
    let policy = shares.header(|share| {
        let seconds = share.window.as_secs();
        format!("\"{}\";q={};w={seconds}", share.name, share.quota)
    });
    let left = shares.header(|share| {
        let seconds = share.reset.as_millis().div_ceil(1_000);
        format!("\"{}\";r={};t={seconds}", share.name, share.remaining)
    });
    for (name, value) in [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, left)] {
        if let Some(value) = value {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
