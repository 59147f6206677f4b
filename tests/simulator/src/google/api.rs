//! Requests to the products' APIs: token, scopes, quota, method and `fields`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use axum::{Json, Router};
use serde_json::Value;

use super::channels::SyncMessage;
use super::error::ApiError;
use super::fields::Selection;
use super::quotas::{Charge, PROJECT, USER};
use super::tokens::Caller;
use super::{Google, batch, bearer};
use crate::provider::Provider;
use crate::usage::{self, Outcome, ResponseFingerprint};

/// A method of an API.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Endpoint {
    /// Id in the discovery document, such as `drive.changes.list`.
    pub(crate) id: &'static str,
    /// Units of the quota.
    pub(crate) units: u64,
    /// Scopes, one of which is required.
    pub(crate) scopes: &'static [&'static str],
    /// Selection without the parameter `fields`; by default the whole response.
    pub(crate) default_fields: Option<&'static str>,
    /// The parameter `fields` is mandatory.
    pub(crate) requires_fields: bool,
}

/// A response before the selection of fields.
pub(crate) struct Reply {
    status: StatusCode,
    body: Option<Value>,
    /// First message of a new channel.
    sync: Option<SyncMessage>,
}

impl Reply {
    pub(crate) const fn json(body: Value) -> Self {
        Self {
            status: StatusCode::OK,
            body: Some(body),
            sync: None,
        }
    }

    pub(crate) const fn empty() -> Self {
        Self {
            status: StatusCode::NO_CONTENT,
            body: None,
            sync: None,
        }
    }

    /// Response with a new channel, whose first message follows.
    pub(crate) const fn channel(body: Value, sync: SyncMessage) -> Self {
        Self {
            status: StatusCode::OK,
            body: Some(body),
            sync: Some(sync),
        }
    }
}

/// An authenticated request.
pub(crate) struct Call<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) endpoint: Endpoint,
    /// Decoded segments of the path below the API's root.
    pub(crate) parts: &'a [&'a str],
    pub(crate) query: &'a [(String, String)],
    pub(crate) body: &'a Value,
}

impl<'c> Call<'c> {
    /// Value of a query parameter.
    pub(crate) fn text(&self, name: &str) -> Option<&'c str> {
        self.texts(name).next()
    }

    /// Values of a repeated query parameter.
    pub(crate) fn texts<'n>(&self, name: &'n str) -> impl Iterator<Item = &'c str> + use<'c, 'n> {
        let named = self.query.iter().filter(move |(known, _)| known == name);
        named.map(|(_, value)| value.as_str())
    }

    /// Value of a boolean parameter, `false` without it.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.text(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(ApiError::invalid_parameter(name)),
        }
    }

    /// Size of a page: cut to `max`, rejected below 1.
    pub(crate) fn page_size(
        &self,
        name: &str,
        default: usize,
        max: usize,
    ) -> Result<usize, ApiError> {
        let Some(text) = self.text(name) else {
            return Ok(default.min(max));
        };
        match text.parse::<usize>() {
            Ok(size) if size >= 1 => Ok(size.min(max)),
            _ => Err(ApiError::invalid_parameter(name)),
        }
    }
}

/// A product, as the common part of its requests uses it.
pub(crate) trait Product: Provider + Sized + 'static {
    /// Name of the service in errors, such as `drive.googleapis.com`.
    const SERVICE: &'static str;
    /// Path of the API's root below `/google`, such as `/drive/v3`.
    const ROOT: &'static str;
    /// Paths for batches below `/google`.
    const BATCH: &'static [&'static str];

    fn google(&self) -> &Arc<Google>;
    /// The method of a path; `None` is a 404 response.
    fn endpoint(&self, method: &Method, parts: &[&str]) -> Option<Endpoint>;
    fn respond(&self, call: &Call<'_>) -> Result<Reply, ApiError>;
    /// Reports the JSON that a client has received after the selection of fields.
    fn received(&self, _call: &Call<'_>, _body: &Value) {}
}

/// Routes of a product's API and of its batches, mounted under `/google`.
pub(crate) fn router<P: Product>(service: &Arc<P>) -> Router {
    let mut routes = Router::new().route(&format!("{}/{{*rest}}", P::ROOT), any(single::<P>));
    for path in P::BATCH {
        routes = routes.route(path, post(several::<P>));
    }
    let google = service.google();
    google.mount(routes.with_state(Arc::clone(service)))
}

async fn single<P: Product>(
    State(service): State<Arc<P>>,
    Path(rest): Path<String>,
    method: Method,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request = Request {
        method: &method,
        rest: &rest,
        query: query.as_deref().unwrap_or_default(),
        headers: &headers,
        body: &body,
    };
    respond(&*service, &request).await
}

/// Responds to a batch; each request in it is like a single one.
async fn several<P: Product>(
    State(service): State<Arc<P>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(parts) = batch::parse(&headers, &body, P::ROOT) else {
        let message = "Failed to parse batch request";
        let error = ApiError::new(StatusCode::BAD_REQUEST, "badRequest", message);
        return error.into_response();
    };
    let mut responses = Vec::new();
    for part in &parts {
        let request = Request {
            method: &part.method,
            rest: &part.rest,
            query: &part.query,
            headers: &part.headers,
            body: &part.body,
        };
        responses.push(respond(&*service, &request).await);
    }
    batch::join(&parts, responses).await
}

/// A request to an API, alone or within a batch.
struct Request<'a> {
    method: &'a Method,
    /// Decoded path below the API's root.
    rest: &'a str,
    query: &'a str,
    headers: &'a HeaderMap,
    body: &'a [u8],
}

/// Response to a request, with the first message of a channel that it creates.
async fn respond<P: Product>(service: &P, request: &Request<'_>) -> Response {
    let reply = match handle(service, request) {
        Ok(reply) => reply,
        Err(error) => return error.into_response(),
    };
    if let Some(sync) = reply.sync {
        sync.send().await;
    }
    match reply.body {
        Some(body) => (reply.status, Json(body)).into_response(),
        None => reply.status.into_response(),
    }
}

fn handle<P: Product>(service: &P, request: &Request<'_>) -> Result<Reply, ApiError> {
    let google = service.google();
    let caller = google.caller(request.headers)?;
    let parts: Vec<&str> = request.rest.split('/').collect();
    let endpoint = service.endpoint(request.method, &parts);
    let endpoint = endpoint.ok_or_else(|| ApiError::not_found("Not Found"))?;
    if !caller.has_any(endpoint.scopes) {
        return Err(ApiError::missing_scope(P::SERVICE, endpoint.id));
    }
    let meter = Meter::new(service, &caller, endpoint);
    meter.charge(P::SERVICE)?;
    let query: Vec<(String, String)> = url::form_urlencoded::parse(request.query.as_bytes())
        .into_owned()
        .collect();
    let body = match request.body {
        [] => Value::Null,
        bytes => serde_json::from_slice(bytes)
            .map_err(|_| ApiError::new(StatusCode::BAD_REQUEST, "parseError", "Parse Error"))?,
    };
    let call = Call {
        caller: &caller,
        endpoint,
        parts: &parts,
        query: &query,
        body: &body,
    };
    let selection = selection(&call)?;
    let mut reply = service.respond(&call)?;
    reply.body = reply.body.map(|body| selection.apply(body));
    if let Some(body) = &reply.body {
        service.received(&call, body);
    }
    meter.record(request, reply.body.as_ref());
    Ok(reply)
}

/// The selected fields; an error if the parameter is malformed or missing.
fn selection(call: &Call<'_>) -> Result<Selection, ApiError> {
    let fields = call.text("fields").filter(|fields| !fields.is_empty());
    if fields.is_none() && call.endpoint.requires_fields {
        let message = "The 'fields' parameter is required for this method.";
        let error = ApiError::new(StatusCode::BAD_REQUEST, "required", message);
        return Err(error.at_parameter("fields"));
    }
    let Some(fields) = fields.or(call.endpoint.default_fields) else {
        return Ok(Selection::default());
    };
    Selection::parse(fields).ok_or_else(|| {
        let message = format!("Invalid field selection {fields}");
        let error = ApiError::new(StatusCode::BAD_REQUEST, "invalidParameter", message);
        error.at_parameter("fields")
    })
}

/// Charge of a request and its record in the usage statistics.
struct Meter<'a> {
    google: &'a Google,
    source: &'static str,
    caller: &'a Caller,
    endpoint: Endpoint,
    units: u64,
}

impl<'a> Meter<'a> {
    fn new<P: Product>(service: &'a P, caller: &'a Caller, endpoint: Endpoint) -> Self {
        let google = service.google();
        let units: &BTreeMap<String, u64> = &google.settings().units;
        Self {
            units: units.get(endpoint.id).copied().unwrap_or(endpoint.units),
            google,
            source: service.source(),
            caller,
            endpoint,
        }
    }

    /// Charges the quota; a refused request is recorded.
    fn charge(&self, service: &str) -> Result<(), ApiError> {
        let charge = Charge {
            source: self.source,
            service,
            sub: &self.caller.sub,
            units: self.units,
            project_number: &self.google.app.project_number,
        };
        let now = self.google.core.clock.seconds();
        let settings = self.google.settings();
        let charged = self.google.state().quotas.charge(charge, &settings, now);
        if charged.is_err() {
            self.add(Outcome::Refused);
        }
        charged
    }

    fn record(&self, request: &Request<'_>, body: Option<&Value>) {
        let who = (self.source, &self.caller.sub, self.endpoint.id);
        let fingerprint = ResponseFingerprint {
            request: usage::hash(&(who, request.rest, request.query, request.body)),
            body: body.map_or(0, |body| usage::hash_without(body, &[])),
            token: usage::hash(&bearer(request.headers)),
        };
        self.add(Outcome::Charged(self.units, fingerprint));
    }

    fn add(&self, outcome: Outcome) {
        let used = match outcome {
            Outcome::Charged(units, _) => units,
            _ => 0,
        };
        self.google.core.usage.record(&usage::Request {
            source: self.source,
            account: &self.caller.sub,
            route: self.endpoint.id,
            at: self.google.core.clock.milliseconds(),
            outcome,
            used: &[(USER, used), (PROJECT, used)],
        });
    }
}
