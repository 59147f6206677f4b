//! The HTTP client of the connectors.
//!
//! It guarantees that requests and redirects go to allowed origins only, that a credential never
//! follows a redirect to another origin, that calls are bounded in time and responses in size, and
//! that the rate limiter admits each hop. Errors, spans and metrics never carry a query, a header
//! or a body. Connectors interpret responses.

mod builder;
mod error;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use http::header::{AUTHORIZATION, COOKIE, LOCATION, PROXY_AUTHORIZATION};
use http::{HeaderMap, Method, StatusCode};
use reqwest::{Client, Request, RequestBuilder, Response};
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument, Span, field};
use url::{Origin, Url};

use super::{Charge, LimitObservation, RateLimiter};
use crate::clock::SharedClock;
use crate::telemetry::names;

pub use builder::OutboundBuilder;
pub use error::HttpError;

const MAX_REDIRECTS: usize = 5;

/// A provider's response, of any status.
#[derive(Debug, Clone)]
pub struct ProviderResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, decompressed.
    pub body: Bytes,
    /// The URL that responded, after redirects.
    pub url: Url,
}

/// One provider's client; clones share sockets and rate limiter.
#[derive(Clone)]
pub struct Outbound {
    client: Client,
    shared: Arc<Shared>,
}

struct Shared {
    provider: &'static str,
    rate_limiter: Arc<dyn RateLimiter>,
    clock: SharedClock,
    allowed: Vec<Origin>,
    call_timeout: Duration,
    max_body: usize,
}

impl Outbound {
    /// A builder that allows no origin yet.
    pub fn builder(
        provider: &'static str,
        rate_limiter: Arc<dyn RateLimiter>,
        clock: SharedClock,
    ) -> OutboundBuilder {
        OutboundBuilder::new(provider, rate_limiter, clock)
    }

    /// The current time, to interpret headers of a response.
    pub fn now(&self) -> DateTime<Utc> {
        self.shared.clock.now()
    }

    /// Builds a request for [`Outbound::send`].
    pub fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.client.request(method, url)
    }

    /// Sends a request and reads the whole response.
    pub async fn send(
        &self,
        charge: &Charge<'_>,
        request: RequestBuilder,
    ) -> Result<ProviderResponse, HttpError> {
        let request = request.build().map_err(HttpError::sending)?;
        let span = tracing::info_span!(
            "provider.request",
            otel.kind = "client",
            provider = self.shared.provider,
            provider.operation = charge.operation,
            http.request.method = %request.method(),
            server.address = request.url().host_str().unwrap_or_default(),
            url.path = request.url().path(),
            http.response.status_code = field::Empty,
            error.type = field::Empty,
            otel.status_code = field::Empty,
        );
        let outcome = self.follow(charge, request).instrument(span.clone()).await;
        record_outcome(&span, &outcome);
        outcome
    }

    /// Reports the limits that a response's headers stated to the rate limiter.
    pub async fn observe(&self, charge: &Charge<'_>, seen: LimitObservation) {
        self.shared
            .rate_limiter
            .observe(self.shared.provider, charge, seen)
            .await;
    }

    /// Sends a request and follows its redirects.
    async fn follow(
        &self,
        charge: &Charge<'_>,
        mut request: Request,
    ) -> Result<ProviderResponse, HttpError> {
        let mut remaining = self.shared.call_timeout;
        for _ in 0..=MAX_REDIRECTS {
            self.guard(request.url())?;
            // For a redirect; a streamed body cannot be cloned.
            let clone = request.try_clone();
            let permit = self
                .shared
                .rate_limiter
                .admit(self.shared.provider, charge)
                .await
                .map_err(HttpError::RateLimited)?;
            let started = Instant::now();
            let outcome = self.call(request, started + remaining).await;
            drop(permit);
            remaining = remaining.saturating_sub(started.elapsed());
            self.measure(charge.operation, started.elapsed(), &outcome);

            let response = outcome?;
            match clone.map_or(Ok(None), |request| redirected(request, &response))? {
                None => return Ok(response),
                Some(next) => request = next,
            }
        }
        Err(HttpError::Request("too many redirects".into()))
    }

    fn guard(&self, url: &Url) -> Result<(), HttpError> {
        // Credentials in a URL would end up in logs.
        let has_no_credentials = url.username().is_empty() && url.password().is_none();
        if has_no_credentials && self.shared.allowed.contains(&url.origin()) {
            return Ok(());
        }
        let error = HttpError::egress(url);
        tracing::error!(
            provider = self.shared.provider,
            error = %error,
            "blocked a request to a forbidden origin"
        );
        Err(error)
    }

    async fn call(
        &self,
        request: Request,
        deadline: Instant,
    ) -> Result<ProviderResponse, HttpError> {
        let exchange = async {
            let response = self
                .client
                .execute(request)
                .await
                .map_err(HttpError::sending)?;
            self.read(response).await
        };
        timeout_at(deadline, exchange)
            .await
            .map_err(|elapsed| HttpError::Timeout(elapsed.into()))?
    }

    async fn read(&self, mut response: Response) -> Result<ProviderResponse, HttpError> {
        let max = self.shared.max_body;
        let announced = response.content_length().unwrap_or(0);
        if usize::try_from(announced).map_or(true, |length| length > max) {
            return Err(HttpError::TooLarge);
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(HttpError::reading)? {
            if body.len() + chunk.len() > max {
                return Err(HttpError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(ProviderResponse {
            status: response.status(),
            url: response.url().clone(),
            headers: std::mem::take(response.headers_mut()),
            body: body.freeze(),
        })
    }

    fn measure(
        &self,
        operation: &'static str,
        duration: Duration,
        outcome: &Result<ProviderResponse, HttpError>,
    ) {
        let status = match outcome {
            Ok(response) => response.status.as_str().to_owned(),
            Err(error) => error.code().to_owned(),
        };
        metrics::histogram!(
            names::PROVIDER_REQUEST_DURATION_SECONDS,
            "provider" => self.shared.provider,
            "operation" => operation,
            "status" => status
        )
        .record(duration);
    }
}

/// Records the status of a call, and the type of its error.
///
/// A call that the rate limiter delays to a later time has an `error.type`, and has not failed.
fn record_outcome(span: &Span, outcome: &Result<ProviderResponse, HttpError>) {
    let (error, has_failed) = match outcome {
        Ok(response) => {
            let status = &response.status;
            span.record("http.response.status_code", i64::from(status.as_u16()));
            if !status.is_client_error() && !status.is_server_error() {
                return;
            }
            (status.as_str(), true)
        }
        Err(error) => (error.code(), !matches!(error, HttpError::RateLimited(_))),
    };
    span.record("error.type", error);
    if has_failed {
        span.record("otel.status_code", "ERROR");
    }
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbound")
            .field("provider", &self.shared.provider)
            .finish_non_exhaustive()
    }
}

/// The request that a response redirects to, if it may be followed.
///
/// Only GET and HEAD are followed, and credentials are removed for another origin.
fn redirected(
    mut request: Request,
    response: &ProviderResponse,
) -> Result<Option<Request>, HttpError> {
    let is_followed = matches!(
        response.status,
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    ) && matches!(*request.method(), Method::GET | Method::HEAD);
    let Some(location) = response.headers.get(LOCATION).filter(|_| is_followed) else {
        return Ok(None);
    };
    let target = location
        .to_str()
        .ok()
        .and_then(|text| response.url.join(text).ok())
        .ok_or_else(|| HttpError::Request("invalid redirect target".into()))?;
    if target.origin() != request.url().origin() {
        for name in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION] {
            request.headers_mut().remove(name);
        }
    }
    *request.url_mut() = target;
    Ok(Some(request))
}

#[cfg(test)]
mod tests;
