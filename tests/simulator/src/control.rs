//! Provider-independent control API under `/_sim/`.
//!
//! It serves the ledger, faults, clock, statistics and environment, and waits for deliveries.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use futures::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Core;
use super::clock::iso;
use super::faults::Rule;
use super::ledger::Filter;
use super::usage::{Quota, Usage};

/// A provider, as the control API uses it.
pub(crate) trait Provider: Send + Sync {
    /// Slug in the ledger.
    fn source(&self) -> &'static str;
    /// Environment variables with which a process reaches the provider.
    fn env(&self) -> Vec<(String, String)>;
    /// Containers that the API shows now.
    fn visible(&self) -> HashSet<u64>;
    /// Number of deliveries without an outcome.
    fn unfinished(&self) -> usize;
    /// Waits until no delivery is unfinished; `false` on timeout.
    fn quiesce(&self, timeout: Duration) -> BoxFuture<'_, bool>;
    /// Statistics of deliveries.
    fn deliveries(&self) -> Value;
    /// Resets the used quota.
    fn reset_limits(&self);
    /// A limit of an account by name; `None` if it is not enforced.
    fn quota(&self, account: &str, limit: &str) -> Option<Quota>;
}

/// All simulated providers.
pub(crate) type Providers = Arc<[Arc<dyn Provider>]>;

/// Error response of the control API.
pub(crate) fn error_response(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "error": message }))).into_response()
}

/// Replaces the given fields of settings; an unknown field or invalid value changes nothing.
pub(crate) fn change_settings<S: Clone + Serialize + DeserializeOwned>(
    current: &S,
    changes: Map<String, Value>,
    apply: impl FnOnce(S),
) -> Response {
    let invalid = |message: &str| error_response(StatusCode::UNPROCESSABLE_ENTITY, message);
    let mut all = json!(current);
    for (name, value) in changes {
        match all.get_mut(&name) {
            Some(field) => *field = value,
            None => return invalid(&format!("unknown setting {name}")),
        }
    }
    match serde_json::from_value::<S>(all) {
        Ok(settings) => {
            apply(settings.clone());
            Json(settings).into_response()
        }
        Err(error) => invalid(&error.to_string()),
    }
}

#[derive(Clone)]
struct Control {
    core: Arc<Core>,
    providers: Providers,
}

pub(crate) fn router(core: Arc<Core>, providers: Providers) -> Router {
    Router::new()
        .route("/_sim", get(index))
        .route("/_sim/", get(index))
        .route("/_sim/env", get(env))
        .route("/_sim/ledger", get(ledger))
        .route("/_sim/stats", get(stats).delete(reset_stats))
        .route("/_sim/limits", delete(reset_limits))
        .route(
            "/_sim/requests",
            get(recorded_requests)
                .post(start_recording)
                .delete(stop_recording),
        )
        .route("/_sim/state", get(state))
        .route("/_sim/quiesce", post(quiesce))
        .route("/_sim/clock", get(clock).post(advance_clock))
        .route(
            "/_sim/faults",
            get(list_faults).post(add_fault).delete(clear_faults),
        )
        .route("/_sim/faults/{id}", delete(clear_fault))
        .with_state(Control { core, providers })
}

async fn index() -> &'static str {
    "provider-sim: a simulated provider for tests and demonstrations\n\
     \n\
     GET    /_sim/env                      environment variables of this simulator\n\
     GET    /_sim/ledger                   facts that happened (source, account, kind, after, limit, expected)\n\
     GET    /_sim/state                    unfinished deliveries, clock, ledger size\n\
     POST   /_sim/quiesce                  wait until all deliveries have finished {timeout_seconds}\n\
     GET    /_sim/stats                    requests and their cost             DELETE resets\n\
     GET    /_sim/requests                 recorded requests                   POST starts, DELETE stops\n\
     GET    /_sim/faults                   active rules                        POST adds, DELETE clears\n\
     GET    /_sim/clock                    simulated time                      POST {advance_seconds}\n\
     DELETE /_sim/limits                   reset the used quota\n\
     GET    /_sim/github/accounts          accounts, repositories, installations   POST adds one\n\
     GET    /_sim/github/settings          settings of app and service         POST changes fields\n\
     POST   /_sim/github/act               carry out an action {account, action, ...}\n\
     POST   /_sim/github/generate          generate facts {count, account?}\n\
     POST   /_sim/github/tokens            expire or revoke {expire: installation|user, revoke_user}\n\
     GET    /_sim/github/deliveries        log of deliveries with requests and responses\n\
     \n\
     GET    /_sim/slack/accounts           workspaces, organizations, people       POST adds one\n\
     GET    /_sim/slack/settings           settings of app and service             POST changes fields\n\
     POST   /_sim/slack/act                carry out an action {account, action, ...}\n\
     POST   /_sim/slack/generate           generate facts {count, account?}\n\
     POST   /_sim/slack/tokens             expire or revoke {expire, revoke: account or person}\n\
     POST   /_sim/slack/url-verification   send the challenge {url?}\n\
     GET    /_sim/slack/deliveries         delivery attempts\n\
     \n\
     GET    /_sim/jira/accounts            sites, people, projects                 POST adds one\n\
     GET    /_sim/jira/settings            settings of app and service             POST changes fields\n\
     POST   /_sim/jira/act                 carry out an action {account, action, ...}\n\
     POST   /_sim/jira/generate            generate facts {count, account?}\n\
     POST   /_sim/jira/tokens              expire or revoke {expire: person, revoke: person}\n\
     GET    /_sim/jira/webhooks            registered webhooks\n\
     GET    /_sim/jira/deliveries          delivery attempts\n\
     \n\
     GitHub's web pages are at /, its REST API at /api/v3 and at /; Slack is at /slack,\n\
     Atlassian's identity service at /atlassian/auth, its API at /atlassian/api.\n\
     See tests/README.md.\n"
}

async fn env(State(control): State<Control>) -> String {
    let mut text = String::new();
    for (name, value) in control.providers.iter().flat_map(|provider| provider.env()) {
        text.extend([&name, "=", &value, "\n"]);
    }
    text
}

async fn ledger(State(control): State<Control>, Query(filter): Query<Filter>) -> Json<Value> {
    let visible = control
        .providers
        .iter()
        .flat_map(|provider| provider.visible())
        .collect();
    let entries = control.core.ledger.query(&filter, &visible);
    let next = entries
        .last()
        .map_or(filter.after.unwrap_or(0), |entry| entry.seq);
    Json(json!({"entries": entries, "next_after": next, "total": control.core.ledger.len()}))
}

async fn stats(State(control): State<Control>) -> Json<Value> {
    let mut report = control.core.stats.report();
    for provider in &*control.providers {
        let source = provider.source();
        report["deliveries"][source] = provider.deliveries();
        for account in control.core.usage.accounts(source) {
            let usage = usage(&control.core, &**provider, &account);
            report["usage"][source][&account] = json!(usage);
        }
    }
    Json(report)
}

/// Cost of an account's requests so far.
pub(crate) fn usage(core: &Core, provider: &dyn Provider, account: &str) -> Usage {
    let now = core.clock.milliseconds();
    core.usage.usage(provider.source(), account, now, |limit| {
        provider.quota(account, limit)
    })
}

async fn reset_stats(State(control): State<Control>) -> StatusCode {
    control.core.stats.reset();
    control.core.usage.reset();
    StatusCode::NO_CONTENT
}

async fn recorded_requests(State(control): State<Control>) -> impl IntoResponse {
    let content_type = [(header::CONTENT_TYPE, "application/x-ndjson")];
    (content_type, control.core.requests.to_ndjson())
}

async fn start_recording(State(control): State<Control>) -> StatusCode {
    control.core.requests.start();
    StatusCode::NO_CONTENT
}

async fn stop_recording(State(control): State<Control>) -> StatusCode {
    control.core.requests.stop();
    StatusCode::NO_CONTENT
}

async fn reset_limits(State(control): State<Control>) -> StatusCode {
    control
        .providers
        .iter()
        .for_each(|provider| provider.reset_limits());
    StatusCode::NO_CONTENT
}

fn report(control: &Control) -> Value {
    let unfinished: usize = control
        .providers
        .iter()
        .map(|provider| provider.unfinished())
        .sum();
    json!({
        "deliveries_unfinished": unfinished,
        "ledger_entries": control.core.ledger.len(),
        "time": iso(control.core.clock.seconds()),
        "clock_offset_seconds": control.core.clock.offset(),
    })
}

async fn state(State(control): State<Control>) -> Json<Value> {
    Json(report(&control))
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct QuiesceRequest {
    timeout_seconds: Option<f64>,
}

async fn quiesce(State(control): State<Control>, body: Option<Json<QuiesceRequest>>) -> Response {
    let seconds = body.and_then(|body| body.timeout_seconds).unwrap_or(30.0);
    let timeout = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_secs(30));
    let mut quiet = true;
    for provider in &*control.providers {
        quiet &= provider.quiesce(timeout).await;
    }
    let status = if quiet {
        StatusCode::OK
    } else {
        StatusCode::REQUEST_TIMEOUT
    };
    let mut response = report(&control);
    response["quiet"] = json!(quiet);
    (status, Json(response)).into_response()
}

async fn clock(State(control): State<Control>) -> Json<Value> {
    Json(report(&control))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AdvanceRequest {
    advance_seconds: u32,
}

async fn advance_clock(
    State(control): State<Control>,
    Json(body): Json<AdvanceRequest>,
) -> Json<Value> {
    control.core.clock.advance(body.advance_seconds);
    Json(report(&control))
}

async fn list_faults(State(control): State<Control>) -> Json<Value> {
    Json(json!({"faults": control.core.faults.list()}))
}

async fn add_fault(State(control): State<Control>, Json(rule): Json<Rule>) -> Response {
    let id = control.core.faults.add(rule);
    (
        StatusCode::CREATED,
        [(header::LOCATION, format!("/_sim/faults/{id}"))],
        Json(json!({"id": id})),
    )
        .into_response()
}

async fn clear_faults(State(control): State<Control>) -> Json<Value> {
    Json(json!({"removed": control.core.faults.clear(None)}))
}

async fn clear_fault(State(control): State<Control>, Path(id): Path<u64>) -> Response {
    match control.core.faults.clear(Some(id)) {
        0 => StatusCode::NOT_FOUND.into_response(),
        removed => Json(json!({"removed": removed})).into_response(),
    }
}
