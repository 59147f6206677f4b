//! `GET /v1/unmatched-accounts`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::db::page::DEFAULT_LIMIT;
use shared::db::unmatched::{self, AccountPosition, UnmatchedFilter};
use utoipa::{IntoParams, ToSchema};

use crate::auth::OperatorAuth;
use crate::error::ApiError;
use crate::query::{FromQuery, Query, QueryReader};
use crate::state::AppState;

/// The filters and the pagination of the list.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct UnmatchedAccountsQuery {
    /// The provider's slug.
    #[param(pattern = "^[a-z][a-z0-9_]{0,62}$")]
    provider: Option<String>,
    /// `true`: only accounts that have exceeded their quota.
    over_quota: Option<bool>,
    /// The `next_cursor` of the previous page; without it, the first page.
    #[param(pattern = "^[A-Za-z0-9_-]{1,4000}$")]
    cursor: Option<String>,
    /// The maximum number of items.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
}

impl FromQuery for UnmatchedAccountsQuery {
    fn read(query: &mut QueryReader) -> Self {
        Self {
            provider: query.slug("provider"),
            over_quota: query.enum_value("over_quota"),
            cursor: query.account_cursor(),
            limit: query.limit(),
        }
    }
}

/// An account without a connection, and its received deliveries.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UnmatchedAccount {
    /// The provider's slug.
    #[schema(example = "github")]
    provider: String,
    /// The account or route that the deliveries name; null if they name none.
    #[schema(example = "48273311")]
    account_id: Option<String>,
    /// The number of stored deliveries, which the account's connection will receive.
    #[schema(example = 1204)]
    deliveries: i64,
    /// The size of the stored deliveries in bytes.
    #[schema(example = 9_437_184)]
    bytes: i64,
    /// The number of deliveries above the quota, of which only the ids are stored.
    #[schema(example = 0)]
    over_quota: i64,
    /// When the last delivery was received.
    last_received_at: DateTime<Utc>,
}

/// A page of accounts, sorted by provider and account.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UnmatchedAccountList {
    unmatched_accounts: Vec<UnmatchedAccount>,
    /// The cursor of the next page; null at the end.
    next_cursor: Option<String>,
}

/// List the accounts without a connection that send deliveries
///
/// The counts are updated within an hour after deliveries are matched or expire; accounts without
/// a delivery for a month are omitted. `GET /v1/webhook-deliveries` lists the deliveries under the
/// nil tenant.
#[utoipa::path(
    get,
    path = "/v1/unmatched-accounts",
    tag = "webhook-deliveries",
    security(("bearer" = ["operator"])),
    params(UnmatchedAccountsQuery),
    responses(
        (status = 200, body = UnmatchedAccountList, description = "A page, sorted by provider and account"),
        (status = 404, body = shared::problem::Problem, content_type = "application/problem+json", description = "The cursor does not belong to this list")
    )
)]
pub(crate) async fn list_unmatched_accounts(
    State(state): State<Arc<AppState>>,
    OperatorAuth(proof): OperatorAuth,
    Query(query): Query<UnmatchedAccountsQuery>,
) -> Result<Json<UnmatchedAccountList>, ApiError> {
    let position = query.cursor.as_deref().map(AccountPosition::parse);
    let filter = UnmatchedFilter {
        provider: query.provider,
        is_over_quota: query.over_quota.unwrap_or(false),
        after: position
            .transpose()
            .map_err(|_| ApiError::NotFound("cursor"))?,
        limit: query.limit.unwrap_or(DEFAULT_LIMIT),
    };
    let page = unmatched::list(&state.db, proof, &filter).await?;
    Ok(Json(UnmatchedAccountList {
        unmatched_accounts: page.items.into_iter().map(UnmatchedAccount::from).collect(),
        next_cursor: page.next_cursor,
    }))
}

impl From<unmatched::UnmatchedAccount> for UnmatchedAccount {
    fn from(account: unmatched::UnmatchedAccount) -> Self {
        Self {
            provider: account.provider,
            account_id: Some(account.account_id).filter(|id| !id.is_empty()),
            deliveries: account.deliveries,
            bytes: account.bytes,
            over_quota: account.digests,
            last_received_at: account.updated_at,
        }
    }
}
