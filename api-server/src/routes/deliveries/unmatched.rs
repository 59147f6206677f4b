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

/// Which accounts are wanted.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct UnmatchedAccountsQuery {
    /// The provider's slug.
    #[param(pattern = "^[a-z][a-z0-9_]{0,62}$", example = "github")]
    provider: Option<String>,
    /// `true`: only accounts that have sent more than their quota.
    over_quota: Option<bool>,
    /// `next_cursor` of the page before; the first page without one.
    #[param(pattern = "^[A-Za-z0-9_-]{1,4000}$")]
    cursor: Option<String>,
    /// How many items at the most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
}

impl FromQuery for UnmatchedAccountsQuery {
    fn read(query: &mut QueryReader) -> Self {
        Self {
            provider: query.slug("provider"),
            over_quota: query.word("over_quota"),
            cursor: query.name_cursor(),
            limit: query.limit(),
        }
    }
}

/// An account that no tenant has connected, and what was received of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UnmatchedAccount {
    /// The provider's slug.
    #[schema(example = "github")]
    provider: String,
    /// The account or route that the deliveries name; null for those that name none.
    #[schema(example = "48273311")]
    account_id: Option<String>,
    /// Deliveries that are kept, and are handed over when the account is connected.
    #[schema(example = 1204)]
    deliveries: i64,
    /// Bytes that they take.
    #[schema(example = 9_437_184)]
    bytes: i64,
    /// Deliveries above the quota, which were acknowledged and of which only the ids were kept.
    #[schema(example = 0)]
    over_quota: i64,
    /// When the last one was received.
    last_received_at: DateTime<Utc>,
}

/// A page of accounts, in the order of provider and account.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UnmatchedAccountList {
    unmatched_accounts: Vec<UnmatchedAccount>,
    /// Where the next page starts; null at the end.
    next_cursor: Option<String>,
}

/// List the accounts without a connection that send deliveries
///
/// Counts follow what was handed over or has expired within an hour; an account that has sent
/// nothing for a month is left out. The deliveries themselves are listed by
/// `GET /v1/webhook-deliveries` under the nil tenant.
#[utoipa::path(
    get,
    path = "/v1/unmatched-accounts",
    tag = "webhook-deliveries",
    security(("bearer" = ["operator"])),
    params(UnmatchedAccountsQuery),
    responses(
        (status = 200, body = UnmatchedAccountList, description = "A page, in the order of provider and account"),
        (status = 404, body = shared::problem::Problem, content_type = "application/problem+json", description = "The cursor does not belong to this list")
    )
)]
pub(crate) async fn list_unmatched_accounts(
    State(state): State<Arc<AppState>>,
    OperatorAuth(proof): OperatorAuth,
    Query(query): Query<UnmatchedAccountsQuery>,
) -> Result<Json<UnmatchedAccountList>, ApiError> {
    let behind = query.cursor.as_deref().map(AccountPosition::parse);
    let filter = UnmatchedFilter {
        provider: query.provider,
        is_over_quota: query.over_quota.unwrap_or(false),
        behind: behind
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
