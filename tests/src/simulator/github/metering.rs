//! What a request to the REST API costs, and whom.

use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;

use super::caller::Caller;
use super::limits::{Allowance, Holder, Resource};
use super::reply::Payload;
use super::settings::Settings;
use super::{GitHub, SOURCE};
use crate::simulator::usage::{self, APP, Answer, Outcome, hash};

/// A request, as far as limits and their use look at it.
pub(super) struct Asked<'a> {
    route: &'a str,
    pub(super) of: Allowance,
    /// `None` where it is nobody's.
    pub(super) account: Option<String>,
    /// When it arrived, in milliseconds.
    at: i64,
    pub(super) is_reading: bool,
    pub(super) is_free: bool,
    pub(super) points: u32,
    pub(super) known: Option<HeaderValue>,
    pub(super) token: Option<HeaderValue>,
    /// Hash of the caller and the URL.
    question: u64,
}

impl<'a> Asked<'a> {
    pub(super) fn read(
        hub: &GitHub,
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
        let (of, account) = {
            let world = hub.world();
            let of = caller.allowance(&world, resource, settings);
            (of, caller.account(&world))
        };
        let is_reading = request.method() == Method::GET;
        let asked = (request.method().as_str(), path, request.uri().query());
        let header = |name| request.headers().get(name).cloned();
        Self {
            route,
            question: hash(&(of.holder, asked)),
            of,
            account,
            at: hub.core.clock.milliseconds(),
            is_reading,
            is_free: path == "/rate_limit",
            points: if is_reading { 1 } else { 5 },
            known: header(header::IF_NONE_MATCH),
            token: header(header::AUTHORIZATION),
        }
    }

    /// Writes down what the request cost.
    pub(super) fn record(&self, hub: &GitHub, outcome: Outcome) {
        let account = match (&self.account, self.of.holder) {
            (Some(account), _) => account,
            (None, Holder::App) => APP,
            (None, _) => return,
        };
        let mut used = Vec::new();
        if matches!(outcome, Outcome::NotModified | Outcome::Charged(..)) {
            used.push(("secondary", u64::from(self.points)));
        }
        if matches!(outcome, Outcome::Charged(..)) {
            used.push((self.of.resource.name(), 1));
        }
        hub.core.usage.record(&usage::Request {
            source: SOURCE,
            account,
            route: self.route,
            at: self.at,
            outcome,
            used: &used,
        });
    }

    /// How a request ended that no limit has refused.
    pub(super) fn outcome(&self, response: &Response) -> Outcome {
        if self.is_free {
            return Outcome::Free;
        }
        if response.status() == StatusCode::NOT_MODIFIED {
            return Outcome::NotModified;
        }
        let body = response.extensions().get::<Payload>();
        let answer = Answer {
            question: self.question,
            body: hash(&body.map(|Payload(body)| body)),
            token: hash(&self.token.as_ref().map(HeaderValue::as_bytes)),
        };
        Outcome::Charged(1, answer)
    }
}
