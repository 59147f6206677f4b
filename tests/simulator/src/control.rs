//! Provider-independent control API under `/_sim/`.
//!
//! It serves the ledger, faults, clock, statistics and environment, and waits for deliveries.

use std::collections::HashSet;
use std::iter;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Core;
use super::clock::iso;
use super::faults::Rule;
use super::ledger::Filter;
use super::provider::{Family, Provider};
use super::usage::Usage;

#[derive(Clone)]
struct Control {
    core: Arc<Core>,
    families: Arc<[Arc<dyn Family>]>,
    providers: Arc<[Arc<dyn Provider>]>,
}

pub(crate) fn router(
    core: Arc<Core>,
    families: Arc<[Arc<dyn Family>]>,
    providers: Arc<[Arc<dyn Provider>]>,
) -> Router {
    Router::new()
        .route("/_sim", get(index))
        .route("/_sim/", get(index))
        .route("/_sim/env", get(env_file))
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
        .with_state(Control {
            core,
            families,
            providers,
        })
}

/// Index of the routes of all providers, before their own.
const INDEX: &str = "provider-sim: a simulated provider for tests and demonstrations

GET    /_sim/env                      environment variables of this simulator
GET    /_sim/ledger                   facts that happened (source, account, kind, after, limit, expected)
GET    /_sim/state                    unfinished deliveries, clock, ledger size
POST   /_sim/quiesce                  wait until all deliveries have finished {timeout_seconds}
GET    /_sim/stats                    requests and their cost             DELETE resets
GET    /_sim/requests                 recorded requests                   POST starts, DELETE stops
GET    /_sim/faults                   active rules                        POST adds, DELETE clears
GET    /_sim/clock                    simulated time                      POST {advance_seconds}
DELETE /_sim/limits                   reset the used quota
";

async fn index(State(control): State<Control>) -> String {
    let providers = control.providers.iter().map(|provider| provider.index());
    let families = control.families.iter().map(|family| family.index());
    let parts: Vec<&str> = iter::once(INDEX)
        .chain(families)
        .chain(providers)
        .chain(iter::once("See tests/README.md.\n"))
        .collect();
    parts.join("\n")
}

async fn env_file(State(control): State<Control>) -> String {
    let mut text = String::new();
    for (name, value) in env(&control.families, &control.providers) {
        text.extend([&name, "=", &value, "\n"]);
    }
    text
}

/// Environment variables with which a process reaches the providers.
pub(crate) fn env(
    families: &[Arc<dyn Family>],
    providers: &[Arc<dyn Provider>],
) -> Vec<(String, String)> {
    let families = families.iter().map(|one| (one.name(), one.env()));
    let providers = providers.iter().map(|one| (one.source(), one.env()));
    let mut variables = Vec::new();
    for (name, settings) in families.chain(providers) {
        let prefix = format!("POBLYSH_{}", name.to_uppercase());
        let settings = settings.into_iter();
        variables.extend(settings.map(|(name, value)| (format!("{prefix}_{name}"), value)));
    }
    variables
}

/// Containers that the APIs show now.
pub(crate) fn visible(providers: &[Arc<dyn Provider>]) -> HashSet<u64> {
    let all = providers.iter();
    all.flat_map(|provider| provider.visible()).collect()
}

async fn ledger(State(control): State<Control>, Query(filter): Query<Filter>) -> Json<Value> {
    let visible = visible(&control.providers);
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
        .map(|provider| provider.unfinished().count())
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
        quiet &= provider.unfinished().quiesce(timeout).await;
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
