//! OAuth states: one per authorization step of a connect flow.
//!
//! A state is identified by its hash, is valid once and for ten minutes, and is bound to one
//! tenant, provider, connect link and browser. The response to its callback is stored sealed, for a
//! browser that repeats the callback, also after ten minutes.

use chrono::{DateTime, Utc};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, Condition, QueryFilter, QueryOrder, QuerySelect};

use super::entities::oauth_states::{ActiveModel, Column, Entity, Model};
use super::orm::{Scoped, across_tenants, insert_computed, now};
use super::{Db, DbError, TenantScope, Tx};

/// The maximum number of steps of a browser's flows that [`list_answered`] returns.
const MAX_ANSWERED: u64 = 20;

/// A state to create.
#[derive(Debug)]
pub struct NewOauthState<'a> {
    /// SHA-256 of the state.
    pub state_hash: [u8; 32],
    /// The provider's slug.
    pub provider: &'a str,
    /// SHA-256 of the token of the flow's connect link.
    pub link_hash: [u8; 32],
    /// SHA-256 of the browser's cookie.
    pub browser_hash: [u8; 32],
    /// The sealed secrets of the step.
    pub sealed: &'a [u8],
    /// Where the browser is redirected at the end.
    pub return_to: Option<&'a str>,
}

/// The state of an authorization step that has begun.
#[derive(Debug, Clone)]
pub struct OauthState {
    /// The scope of its tenant.
    pub scope: TenantScope,
    /// SHA-256 of the state.
    pub state_hash: [u8; 32],
    /// The provider's slug.
    pub provider: String,
    /// SHA-256 of the token of the flow's connect link.
    pub link_hash: [u8; 32],
    /// SHA-256 of the browser's cookie.
    pub browser_hash: [u8; 32],
    /// The sealed secrets of the step.
    pub sealed: Vec<u8>,
    /// Where the browser is redirected at the end.
    pub return_to: Option<String>,
    /// Whether the callback was received before.
    pub used: bool,
    /// The sealed response to the callback; `None` while it is being processed.
    pub response: Option<Vec<u8>>,
}

/// Creates a state; returns when it expires.
pub async fn create(
    tx: &mut Tx,
    scope: &TenantScope,
    state: &NewOauthState<'_>,
) -> Result<DateTime<Utc>, DbError> {
    let row = ActiveModel {
        tenant_id: Set(scope.tenant_id()),
        state_hash: Set(state.state_hash.to_vec()),
        provider: Set(state.provider.to_owned()),
        link_hash: Set(Some(state.link_hash.to_vec())),
        browser_hash: Set(Some(state.browser_hash.to_vec())),
        sealed: Set(state.sealed.to_vec()),
        return_to: Set(state.return_to.map(str::to_owned)),
        ..Default::default()
    };
    let expires_at = (
        Column::ExpiresAt,
        Expr::cust("now() + interval '10 minutes'"),
    );
    let row = insert_computed(&tx.orm(), row, expires_at, [Column::ExpiresAt]).await?;
    Ok(row.try_get("", "expires_at")?)
}

/// Returns the state with this hash, used or not, unless it has expired.
///
/// One with a stored response is returned until it is deleted, an hour after it has expired.
pub async fn find(db: &Db, state_hash: [u8; 32]) -> Result<Option<OauthState>, DbError> {
    let mut tx = db.begin_by_secret(&state_hash).await?;
    let readable = Condition::any()
        .add(Column::ExpiresAt.into_expr().gt(now()))
        .add(Column::Response.is_not_null());
    let row = across_tenants::<Entity>()
        .filter(Column::StateHash.eq(state_hash.to_vec()))
        .filter(readable)
        .one(&tx.orm())
        .await?;
    tx.commit().await?;
    row.map_or(Ok(None), OauthState::from_row)
}

/// Returns the states of a link in one browser that have a stored response, newest first.
pub async fn list_answered(
    tx: &mut Tx,
    scope: &TenantScope,
    link_hash: &[u8; 32],
    browser_hash: &[u8; 32],
) -> Result<Vec<OauthState>, DbError> {
    let rows = Entity::scoped(scope)
        .filter(Column::LinkHash.eq(link_hash.to_vec()))
        .filter(Column::BrowserHash.eq(browser_hash.to_vec()))
        .filter(Column::Response.is_not_null())
        .order_by_desc(Column::CreatedAt)
        .limit(MAX_ANSWERED)
        .all(&tx.orm())
        .await?;
    let states = rows.into_iter().map(OauthState::from_row);
    states.filter_map(Result::transpose).collect()
}

impl OauthState {
    /// `None` for a row without a link or a browser.
    fn from_row(row: Model) -> Result<Option<Self>, DbError> {
        let (Some(link_hash), Some(browser_hash)) = (row.link_hash, row.browser_hash) else {
            return Ok(None);
        };
        Ok(Some(Self {
            scope: TenantScope::new(row.tenant_id),
            state_hash: parse_hash(row.state_hash)?,
            provider: row.provider,
            link_hash: parse_hash(link_hash)?,
            browser_hash: parse_hash(browser_hash)?,
            sealed: row.sealed,
            return_to: row.return_to,
            used: row.used_at.is_some(),
            response: row.response,
        }))
    }
}

fn parse_hash(bytes: Vec<u8>) -> Result<[u8; 32], DbError> {
    bytes
        .try_into()
        .map_err(|_| DbError::Corrupt("oauth_states: hash length"))
}

/// Consumes a state; `true` once, and only for its own browser.
pub async fn consume(
    tx: &mut Tx,
    scope: &TenantScope,
    state_hash: &[u8; 32],
    browser_hash: &[u8; 32],
) -> Result<bool, DbError> {
    let result = Entity::update_scoped(scope)
        .col_expr(Column::UsedAt, now())
        .filter(Column::StateHash.eq(state_hash.to_vec()))
        .filter(Column::BrowserHash.eq(browser_hash.to_vec()))
        .filter(Column::UsedAt.is_null())
        .filter(Column::ExpiresAt.into_expr().gt(now()))
        .exec(&tx.orm())
        .await?;
    Ok(result.rows_affected == 1)
}

/// Stores the response to the callback of a consumed state.
pub async fn record_response(
    tx: &mut Tx,
    scope: &TenantScope,
    state_hash: &[u8; 32],
    response: &[u8],
) -> Result<(), DbError> {
    let changed = ActiveModel {
        response: Set(Some(response.to_vec())),
        ..Default::default()
    };
    Entity::update_scoped(scope)
        .set(changed)
        .filter(Column::StateHash.eq(state_hash.to_vec()))
        .filter(Column::UsedAt.is_not_null())
        .exec(&tx.orm())
        .await?;
    Ok(())
}
