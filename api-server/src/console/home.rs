//! `GET /console`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use shared::db::OperatorProof;
use shared::db::webhook_results;

use super::session::{Rejection, Session};
use super::views::{HomeView, HourlyRequests};
use crate::error::ApiError;
use crate::query::{NoQuery, Query};
use crate::routes::overview::get::{Overview, read};
use crate::state::AppState;

/// Shows the home page.
pub(super) async fn show(
    State(state): State<Arc<AppState>>,
    session: Session,
    Query(NoQuery): Query<NoQuery>,
) -> Result<Response, Rejection> {
    let (overview, hourly) = load(&state, session.stored.proof).await?;
    let view = HomeView {
        overview: &overview,
        hourly: &hourly,
    };
    Ok(state
        .pages
        .respond_console(session.signed_in(), &view.page()))
}

/// Reads the overview and the chart of deliveries.
pub(super) async fn load(
    state: &AppState,
    proof: OperatorProof,
) -> Result<(Overview, Vec<HourlyRequests>), ApiError> {
    let mut tx = state.db.begin_for_operator(proof).await?;
    let overview = read(state, &mut tx).await?;
    let counts = webhook_results::list_hourly(&mut tx).await?;
    tx.commit().await?;
    let hourly = counts.iter().map(|count| HourlyRequests {
        hour: count.hour,
        per_minute: per_minute(count.requests, count.seconds),
    });
    Ok((overview, hourly.collect()))
}

/// The mean per minute; of an hour that has just begun, over its first minute.
fn per_minute(requests: i64, seconds: i32) -> f64 {
    let requests = u32::try_from(requests).unwrap_or(u32::MAX);
    f64::from(requests) * 60.0 / f64::from(seconds.max(60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_counts_the_passed_part_of_the_hour() {
        let means = [(120, 3600), (120, 600), (7, 3), (0, 0)];
        let means = means.map(|(requests, seconds)| per_minute(requests, seconds));
        assert!(
            means
                .iter()
                .zip([2.0, 12.0, 7.0, 0.0])
                .all(|(mean, expected)| (mean - expected).abs() < 1e-9),
            "{means:?}"
        );
    }
}
