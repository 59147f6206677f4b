//! `GET /v1/overview`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::db::overview::{self, ConnectionCount};
use shared::db::webhook_results::{self, DailyCount};
use shared::db::{DbError, Tx};
use shared::health::HealthState;
use strum::VariantArray;
use utoipa::ToSchema;

use crate::auth::OperatorAuth;
use crate::error::ApiError;
use crate::query::{NoQuery, Query};
use crate::state::AppState;

/// The state of the service and of all connections.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Overview {
    /// When it was measured.
    pub(crate) at: DateTime<Utc>,
    pub(crate) connections: Connections,
    pub(crate) queue: Queue,
    pub(crate) feed: Feed,
    /// Webhook requests of the last 24 hours, by provider and result.
    pub(crate) deliveries: Vec<Deliveries>,
}

/// The number of connections of all tenants.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Connections {
    /// All of them, disconnected ones included.
    #[schema(example = 500)]
    pub(crate) total: i64,
    /// The number of connections that are degraded or need an action.
    #[schema(example = 7)]
    pub(crate) need_attention: i64,
    /// The number of connections by state of health.
    #[schema(example = json!({"healthy": 481, "degraded": 4, "action_required": 3}))]
    pub(crate) by_health: BTreeMap<String, i64>,
    pub(crate) by_provider: Vec<ProviderConnections>,
}

/// The number of connections at a provider.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProviderConnections {
    /// The provider's slug.
    #[schema(example = "github")]
    pub(crate) provider: String,
    pub(crate) total: i64,
    /// The number of connections by state of health.
    pub(crate) by_health: BTreeMap<String, i64>,
}

/// The queue and its workers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Queue {
    /// Queued jobs that are due.
    pub(crate) due: i64,
    /// Queued jobs that are due later.
    pub(crate) scheduled: i64,
    /// Running jobs.
    pub(crate) running: i64,
    /// The age of the oldest due job in seconds; 0 without one.
    #[schema(example = 0.4)]
    pub(crate) oldest_seconds: f64,
    /// Dead-lettered jobs within their retention; `GET /v1/jobs?state=dead` lists those of a tenant.
    pub(crate) dead: i64,
    /// Workers with a valid heartbeat.
    #[schema(example = 2)]
    pub(crate) workers: i64,
}

/// The feed of all tenants.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Feed {
    /// How far the feed's watermark is behind, in seconds; null while no worker measures it.
    #[schema(example = 0.0)]
    pub(crate) lag_seconds: Option<f64>,
}

/// Webhook requests of a provider with the same result.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Deliveries {
    /// The provider's slug.
    #[schema(example = "github")]
    pub(crate) provider: String,
    /// The result, as in the metric `poblysh_webhook_deliveries_total`.
    #[schema(example = "accepted")]
    pub(crate) result: String,
    /// The number of requests of the last 24 hours.
    #[schema(example = 18204)]
    pub(crate) requests: i64,
    /// When the last one arrived.
    pub(crate) last_at: DateTime<Utc>,
}

/// Get the overview
///
/// Covers all tenants: connections by provider and health, queue, feed, and webhook requests.
#[utoipa::path(
    get,
    path = "/v1/overview",
    tag = "overview",
    security(("bearer" = ["operator"])),
    responses((status = 200, body = Overview, description = "The overview"))
)]
pub(crate) async fn get_overview(
    State(state): State<Arc<AppState>>,
    OperatorAuth(proof): OperatorAuth,
    Query(NoQuery): Query<NoQuery>,
) -> Result<Json<Overview>, ApiError> {
    let mut tx = state.db.begin_for_operator(proof).await?;
    let overview = read(&state, &mut tx).await?;
    tx.commit().await?;
    Ok(Json(overview))
}

/// Reads the overview in a transaction of the operators' role.
pub(crate) async fn read(state: &AppState, tx: &mut Tx) -> Result<Overview, DbError> {
    let counts = overview::count_connections(tx).await?;
    let service = overview::read_service(tx).await?;
    let jobs = state.queue.totals(tx).await?;
    let results = webhook_results::list_daily(tx).await?;
    Ok(Overview {
        at: service.now,
        connections: Connections::new(counts),
        queue: Queue {
            due: jobs.due,
            scheduled: jobs.scheduled,
            running: jobs.running,
            oldest_seconds: jobs.oldest_seconds,
            dead: jobs.dead,
            workers: service.workers,
        },
        feed: Feed {
            lag_seconds: service.feed_lag_seconds,
        },
        deliveries: results.into_iter().map(Deliveries::from).collect(),
    })
}

/// Counts of every state, of which none has been counted yet.
fn no_connections() -> BTreeMap<String, i64> {
    let states = HealthState::VARIANTS.iter();
    states.map(|state| (state.as_str().to_owned(), 0)).collect()
}

impl Connections {
    fn new(counts: Vec<ConnectionCount>) -> Self {
        let mut all = Self {
            total: 0,
            need_attention: 0,
            by_health: no_connections(),
            by_provider: Vec::new(),
        };
        let needs_attention =
            [HealthState::Degraded, HealthState::ActionRequired].map(HealthState::as_str);
        for count in counts {
            all.total += count.connections;
            if needs_attention.contains(&count.health.as_str()) {
                all.need_attention += count.connections;
            }
            *all.by_health.entry(count.health.clone()).or_default() += count.connections;
            // The counts are sorted by provider.
            let is_known = all
                .by_provider
                .last()
                .is_some_and(|last| last.provider == count.provider);
            if !is_known {
                all.by_provider.push(ProviderConnections {
                    provider: count.provider,
                    total: 0,
                    by_health: no_connections(),
                });
            }
            if let Some(of_provider) = all.by_provider.last_mut() {
                of_provider.total += count.connections;
                *of_provider.by_health.entry(count.health).or_default() += count.connections;
            }
        }
        all
    }
}

impl From<DailyCount> for Deliveries {
    fn from(count: DailyCount) -> Self {
        Self {
            provider: count.provider,
            result: count.result,
            requests: count.requests,
            last_at: count.last_at,
        }
    }
}
