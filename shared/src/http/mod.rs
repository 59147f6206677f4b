//! The HTTP client for calls to providers, and the interface of its rate limiter.
//!
//! The client has timeouts, an egress guard, bounded bodies, spans and metrics. A [`RateLimiter`]
//! admits every call. [`Jwks`] caches the keys with which a provider signs its webhooks.

mod client;
mod jwks;
mod rate_limiter;

pub use client::{HttpError, Outbound, OutboundBuilder, ProviderResponse};
pub use jwks::Jwks;
pub use rate_limiter::{
    Charge, LimitObservation, Permit, Priority, RateLimited, RateLimiter, page_deadline,
    record_admission, with_page_deadline,
};
