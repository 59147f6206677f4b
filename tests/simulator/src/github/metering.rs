//! Metering of requests to the REST API: cost and account.

use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;

use super::caller::Caller;
use super::limits::{Allowance, Holder, Resource};
use super::reply::Payload;
use super::settings::Settings;
use super::{GitHub, SOURCE};
use crate::usage::{self, APP, Outcome, ResponseFingerprint, hash};

/// A request with what its metering needs.
pub(super) struct MeteredRequest<'a> {
    route: &'a str,
    pub(super) allowance: Allowance,
    /// `None` if the caller has no account.
    pub(super) account: Option<String>,
    /// Time of arrival, in milliseconds.
    at: i64,
    pub(super) is_read: bool,
    pub(super) is_free: bool,
    pub(super) points: u32,
    /// `If-None-Match` header.
    pub(super) if_none_match: Option<HeaderValue>,
    /// `Authorization` header.
    pub(super) token: Option<HeaderValue>,
    /// Hash of the caller and the URL.
    fingerprint: u64,
}

impl<'a> MeteredRequest<'a> {
    pub(super) fn new(
        service: &GitHub,
        caller: &Caller,
        settings: &Settings,
        request: &Request,
        route: &'a str,
    ) -> Self {
        let path = request.uri().path();
        let path = path.strip_prefix("/api/v3").unwrap_or(path);
        let resource = if path == "/search/issues" {
            Resource::Search
        } else {
            Resource::Core
        };
        let (allowance, account) = {
            let world = service.world();
            let allowance = caller.allowance(&world, resource, settings);
            (allowance, caller.account(&world))
        };
        let is_read = request.method() == Method::GET;
        let target = (request.method().as_str(), path, request.uri().query());
        let header = |name| request.headers().get(name).cloned();
        Self {
            route,
            fingerprint: hash(&(allowance.holder, target)),
            allowance,
            account,
            at: service.core.clock.milliseconds(),
            is_read,
            is_free: path == "/rate_limit",
            points: if is_read { 1 } else { 5 },
            if_none_match: header(header::IF_NONE_MATCH),
            token: header(header::AUTHORIZATION),
        }
    }

    /// Records the cost of the request.
    pub(super) fn record(&self, service: &GitHub, outcome: Outcome) {
        let account = match (&self.account, self.allowance.holder) {
            (Some(account), _) => account,
            (None, Holder::App) => APP,
            (None, _) => return,
        };
        let mut used = Vec::new();
        if matches!(outcome, Outcome::NotModified | Outcome::Charged(..)) {
            used.push(("secondary", u64::from(self.points)));
        }
        if matches!(outcome, Outcome::Charged(..)) {
            used.push((self.allowance.resource.name(), 1));
        }
        service.core.usage.record(&usage::Request {
            source: SOURCE,
            account,
            route: self.route,
            at: self.at,
            outcome,
            used: &used,
        });
    }

    /// Outcome of a request that no limit has rejected.
    pub(super) fn outcome(&self, response: &Response) -> Outcome {
        if self.is_free {
            return Outcome::Free;
        }
        if response.status() == StatusCode::NOT_MODIFIED {
            return Outcome::NotModified;
        }
        let body = response.extensions().get::<Payload>();
        let response = ResponseFingerprint {
            request: self.fingerprint,
            body: hash(&body.map(|Payload(body)| body)),
            token: hash(&self.token.as_ref().map(HeaderValue::as_bytes)),
        };
        Outcome::Charged(1, response)
    }
}
