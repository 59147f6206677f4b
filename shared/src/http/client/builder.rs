//! The builder of the HTTP client.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, redirect};
use url::{Origin, Url};

use super::{HttpError, Outbound, Shared};
use crate::clock::SharedClock;
use crate::http::RateLimiter;

/// Some providers reject calls without a user agent.
const USER_AGENT: &str = concat!("poblysh-connectors/", env!("CARGO_PKG_VERSION"));
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_BODY: usize = 32 * 1024 * 1024;

/// Builds an [`Outbound`].
pub struct OutboundBuilder {
    provider: &'static str,
    rate_limiter: Arc<dyn RateLimiter>,
    clock: SharedClock,
    allowed: Vec<Origin>,
    connect_timeout: Duration,
    call_timeout: Duration,
    max_body: usize,
}

impl OutboundBuilder {
    pub(super) fn new(
        provider: &'static str,
        rate_limiter: Arc<dyn RateLimiter>,
        clock: SharedClock,
    ) -> Self {
        Self {
            provider,
            rate_limiter,
            clock,
            allowed: Vec::new(),
            connect_timeout: CONNECT_TIMEOUT,
            call_timeout: CALL_TIMEOUT,
            max_body: MAX_BODY,
        }
    }

    /// Allows calls to the origin of this URL: scheme, host and port.
    #[must_use]
    pub fn allow(mut self, url: &Url) -> Self {
        let origin = url.origin();
        if !self.allowed.contains(&origin) {
            self.allowed.push(origin);
        }
        self
    }

    /// Sets the timeouts of connecting (5 s) and of a whole call with redirects and body (30 s).
    ///
    /// Time spent in the rate limiter does not count.
    #[must_use]
    pub const fn timeouts(mut self, connect: Duration, call: Duration) -> Self {
        self.connect_timeout = connect;
        self.call_timeout = call;
        self
    }

    /// Sets the largest response body, in bytes after decompression (32 MiB).
    #[must_use]
    pub const fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// Builds the client.
    pub fn build(self) -> Result<Outbound, HttpError> {
        let client = Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(self.connect_timeout)
            .redirect(redirect::Policy::none())
            .referer(false)
            // A proxy from the environment would receive requests without the egress guard.
            .no_proxy()
            .build()
            .map_err(|error| HttpError::Request(error.without_url().into()))?;
        Ok(Outbound {
            client,
            shared: Arc::new(Shared {
                provider: self.provider,
                rate_limiter: self.rate_limiter,
                clock: self.clock,
                allowed: self.allowed,
                call_timeout: self.call_timeout,
                max_body: self.max_body,
            }),
        })
    }
}
