//! Tenants and their keys, and their forms.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use shared::db::api_keys::ApiScope;
use shared::model::{ApiKeyId, OperatorRole, TenantId};
use strum::VariantArray;

use super::connections::NoticeQuery;
use super::session::{Form, Rejection, Session, redirect};
use super::views::{NewKeyView, Notice, TenantView, TenantsView};
use crate::auth::{AdminAuth, OperatorAuth};
use crate::error::{ApiError, FieldProblem};
use crate::extract::{IdPath, IdPaths, JsonBody, Validate};
use crate::query::{FromQuery, NoQuery, Query, QueryReader};
use crate::routes::ListQuery;
use crate::routes::api_keys::create::{NewApiKey, create_api_key};
use crate::routes::api_keys::list::list_api_keys;
use crate::routes::api_keys::revoke::revoke_api_key;
use crate::routes::tenants::create::{NewTenant, create_tenant};
use crate::routes::tenants::get::get_tenant;
use crate::routes::tenants::list::list_tenants;
use crate::state::AppState;

/// Shows the list of tenants.
pub(super) async fn list(
    State(state): State<Arc<AppState>>,
    session: Session,
    list: Query<ListQuery>,
) -> Result<Response, Rejection> {
    let operator = OperatorAuth(session.stored.proof);
    let found = list_tenants(State(Arc::clone(&state)), operator, list)
        .await?
        .0;
    let view = TenantsView {
        operator: session.signed_in(),
        tenants: &found.tenants,
        next_cursor: found.next_cursor.as_deref(),
    };
    Ok(state
        .pages
        .respond_console(session.signed_in(), &view.page()))
}

/// The page of the keys, and the outcome of the form before.
#[derive(Debug)]
pub(super) struct KeysQuery {
    list: ListQuery,
    notice: Option<Notice>,
}

impl FromQuery for KeysQuery {
    fn read(query: &mut QueryReader) -> Self {
        let NoticeQuery(notice) = NoticeQuery::read(query);
        Self {
            list: ListQuery::read(query),
            notice,
        }
    }
}

/// Shows one tenant and its keys.
pub(super) async fn show(
    State(state): State<Arc<AppState>>,
    session: Session,
    IdPath(id): IdPath<TenantId>,
    Query(KeysQuery { list, notice }): Query<KeysQuery>,
) -> Result<Response, Rejection> {
    let operator = OperatorAuth(session.stored.proof);
    let app = || State(Arc::clone(&state));
    let tenant = get_tenant(app(), operator, IdPath(id), Query(NoQuery))
        .await?
        .0;
    let keys = list_api_keys(app(), operator, IdPath(id), Query(list))
        .await?
        .0;
    let scopes: Vec<&str> = ApiScope::VARIANTS
        .iter()
        .map(|scope| scope.as_str())
        .collect();
    let view = TenantView {
        operator: session.signed_in(),
        tenant: &tenant,
        keys: &keys.api_keys,
        next_cursor: keys.next_cursor.as_deref(),
        scopes: &scopes,
        notice,
    };
    Ok(state
        .pages
        .respond_console(session.signed_in(), &view.page()))
}

/// The proof that the operator of a form is an administrator.
fn admin(form: &Form) -> Result<AdminAuth, ApiError> {
    let operator = form.session.operator();
    operator.require(OperatorRole::Admin)?;
    Ok(AdminAuth(operator))
}

/// Validates the body of a form as the API does with JSON.
fn validated<T: Validate>(body: T) -> Result<JsonBody<T>, ApiError> {
    let mut problems = Vec::new();
    body.validate(&mut problems);
    if problems.is_empty() {
        Ok(JsonBody(body))
    } else {
        Err(ApiError::Fields(problems))
    }
}

/// Creates a tenant.
pub(super) async fn create(
    State(state): State<Arc<AppState>>,
    form: Form,
) -> Result<Response, Rejection> {
    let body = validated(NewTenant {
        name: form.only("name").unwrap_or_default().to_owned(),
    })?;
    let (_, tenant) = create_tenant(State(state), admin(&form)?, Query(NoQuery), body).await?;
    let done: &str = Notice::TenantCreated.into();
    Ok(redirect(&format!(
        "/console/tenants/{}?done={done}",
        tenant.id
    )))
}

/// Creates a key and shows it once.
pub(super) async fn create_key(
    State(state): State<Arc<AppState>>,
    IdPath(tenant): IdPath<TenantId>,
    form: Form,
) -> Result<Response, Rejection> {
    let scopes: Option<Vec<ApiScope>> = form.all("scope").map(|text| text.parse().ok()).collect();
    let invalid =
        |name: &str, reason: &str| ApiError::Fields(vec![FieldProblem::new(name, reason)]);
    let days = form.only("expires_in_days").unwrap_or_default().trim();
    let expires_in_days = if days.is_empty() {
        None
    } else {
        let days = days.parse::<i32>();
        Some(days.map_err(|_| invalid("expires_in_days", "must be from 1 to 3650"))?)
    };
    let body = validated(NewApiKey {
        name: form.only("name").unwrap_or_default().to_owned(),
        scopes: Some(scopes.ok_or_else(|| invalid("scope", "must be a scope"))?),
        expires_in_days,
    })?;
    let app = State(Arc::clone(&state));
    let admin = admin(&form)?;
    let (_, key) = create_api_key(app, admin, IdPath(tenant), Query(NoQuery), body).await?;
    let view = NewKeyView {
        name: &key.record.name,
        key: &key.key,
        back: &format!("/console/tenants/{tenant}"),
    };
    Ok(state
        .pages
        .respond_console(form.session.signed_in(), &view.page()))
}

/// Revokes a key.
pub(super) async fn revoke_key(
    State(state): State<Arc<AppState>>,
    IdPaths(tenant, id): IdPaths<TenantId, ApiKeyId>,
    form: Form,
) -> Result<Response, Rejection> {
    let path = IdPaths(tenant, id);
    revoke_api_key(State(state), admin(&form)?, path, Query(NoQuery)).await?;
    let done: &str = Notice::KeyRevoked.into();
    Ok(redirect(&format!("/console/tenants/{tenant}?done={done}")))
}
