//! Authentication and authorization of requests.
//!
//! The extractors yield a proof or reject the request: a handler with [`TenantAuth`] in its
//! signature runs only for an authorized caller. The id of another tenant and an unknown id give
//! the same response.

mod audit_reason;
mod operator;
mod scopes;

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use shared::db::api_keys::{self, AuthenticatedKey};
use shared::db::audit::AuditActor;
use shared::db::operators::{self, AuthenticatedOperator};
use shared::db::{OperatorProof, TenantScope};
use shared::model::{ApiKeyId, TenantId};
use shared::server::ClientAddr;

pub(crate) use audit_reason::AuditReason;
pub(crate) use operator::{AdminAuth, Operator, OperatorAuth, OperatorRead, TenantOperator};
pub(crate) use scopes::*;

use crate::error::{ApiError, FieldProblem};
use crate::limits::{Attempt, KeyOwner, QuotaStatuses};
use crate::query::parse_uuid;
use crate::state::AppState;

/// The header that names the tenant of an operator's request.
pub(crate) const TENANT_HEADER: HeaderName = HeaderName::from_static("x-tenant-id");

/// The proof that the caller has the scope `S` in one tenant.
#[derive(Debug)]
pub(crate) struct TenantAuth<S> {
    pub(crate) scope: TenantScope,
    pub(crate) principal: Principal,
    _required: PhantomData<S>,
}

/// The proof that the caller has the scope `S` for a list: in one tenant, or as an operator.
#[derive(Debug)]
pub(crate) struct ReadAuth<S> {
    pub(crate) reach: Reach,
    _required: PhantomData<S>,
}

/// The tenants whose rows a list contains.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reach {
    /// One tenant.
    Tenant(TenantScope),
    /// All tenants, for an operator without `X-Tenant-Id`.
    AllTenants(OperatorProof),
}

/// The authenticated caller.
#[derive(Debug, Clone)]
pub(crate) enum Principal {
    /// An operator.
    Operator(Operator),
    /// The holder of a tenant's API key.
    ApiKey(ApiKeyId),
}

impl Principal {
    /// The caller as an actor of the audit log.
    pub(crate) const fn actor(&self) -> AuditActor {
        match self {
            Self::Operator(operator) => operator.actor(),
            Self::ApiKey(id) => AuditActor::ApiKey(*id),
        }
    }

    /// The id of the API key; `None` for an operator.
    pub(crate) const fn key(&self) -> Option<ApiKeyId> {
        match self {
            Self::Operator(_) => None,
            Self::ApiKey(id) => Some(*id),
        }
    }
}

impl<S: RequiredScope> FromRequestParts<Arc<AppState>> for TenantAuth<S> {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Arc<AppState>,
    ) -> Result<Self, ApiError> {
        let credential = authenticate(parts, state).await?;
        let requested = tenant_header(&parts.headers)?;
        authorize(state, credential, requested).await
    }
}

impl<S: RequiredScope> FromRequestParts<Arc<AppState>> for ReadAuth<S> {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Arc<AppState>,
    ) -> Result<Self, ApiError> {
        let credential = authenticate(parts, state).await?;
        let requested = tenant_header(&parts.headers)?;
        let reach = match (credential, requested) {
            (Credential::Operator(operator), None) => {
                operator.require(S::ROLE)?;
                Reach::AllTenants(operator.proof)
            }
            (credential, requested) => {
                let auth: TenantAuth<S> = authorize(state, credential, requested).await?;
                Reach::Tenant(auth.scope)
            }
        };
        Ok(Self {
            reach,
            _required: PhantomData,
        })
    }
}

/// Checks that a credential has the scope `S` in the requested tenant or in its own.
async fn authorize<S: RequiredScope>(
    state: &AppState,
    credential: Credential,
    requested: Option<TenantId>,
) -> Result<TenantAuth<S>, ApiError> {
    let (scope, principal) = match credential {
        Credential::Operator(operator) => {
            return TenantAuth::of_operator(state, operator, requested).await;
        }
        Credential::ApiKey(key) => {
            // A key together with another tenant's id is a mistake of the client.
            if requested.is_some_and(|tenant| tenant != key.scope.tenant_id()) {
                return Err(ApiError::NotFound("tenant"));
            }
            if !key.scopes.contains(&S::SCOPE) {
                return Err(ApiError::InsufficientScope(S::SCOPE));
            }
            (key.scope, Principal::ApiKey(key.id))
        }
    };
    Ok(TenantAuth {
        scope,
        principal,
        _required: PhantomData,
    })
}

impl<S: RequiredScope> TenantAuth<S> {
    /// Checks that an operator's role allows `S`, in the requested tenant.
    pub(crate) async fn of_operator(
        state: &AppState,
        operator: Operator,
        requested: Option<TenantId>,
    ) -> Result<Self, ApiError> {
        operator.require(S::ROLE)?;
        let tenant = requested.ok_or(ApiError::TenantRequired)?;
        operator.in_tenant(state, tenant).await?.auth()
    }
}

enum Credential {
    Operator(Operator),
    ApiKey(AuthenticatedKey),
}

impl Credential {
    /// The key and its tenant; `None` for an operator.
    const fn owner(&self) -> Option<KeyOwner> {
        match self {
            Self::Operator(_) => None,
            Self::ApiKey(key) => Some(KeyOwner {
                tenant: key.scope.tenant_id(),
                key: key.id,
            }),
        }
    }
}

/// Verifies the credential of a request, unless its client is throttled.
///
/// A request of a recently accepted key is counted first, so that a request over the limit needs
/// no database session. Within the limit every request verifies the key, so that a revoked key is
/// rejected immediately.
async fn authenticate(parts: &Parts, state: &Arc<AppState>) -> Result<Credential, ApiError> {
    let presented = bearer(&parts.headers).ok_or(ApiError::Unauthorized)?;
    let client = parts.extensions.get::<ClientAddr>().copied();
    let attempt = Attempt::new(client, presented);
    let throttle = &state.limits.throttle;
    if let Some(retry_after) = throttle.retry_after(&attempt, Instant::now()) {
        return Err(ApiError::AuthenticationThrottled { retry_after });
    }
    let cached_owner = throttle.owner(&attempt, Instant::now());
    if let Some(owner) = cached_owner {
        count_request(parts, state, owner)?;
    }
    let is_known = cached_owner.is_none() && throttle.is_accepted(&attempt, Instant::now());
    match verify_credential(presented, cached_owner, is_known, state).await {
        Ok(credential) => {
            let owner = credential.owner();
            throttle.record_success(&attempt, owner, Instant::now());
            if let (None, Some(owner)) = (cached_owner, owner) {
                count_request(parts, state, owner)?;
            }
            Ok(credential)
        }
        Err(error) => {
            if matches!(error, ApiError::Unauthorized) {
                throttle.record_failure(attempt, Instant::now());
            }
            Err(error)
        }
    }
}

/// Counts a request of a key; fails if the key or its tenant is over the limit.
fn count_request(parts: &Parts, state: &AppState, owner: KeyOwner) -> Result<(), ApiError> {
    let quotas = parts.extensions.get::<QuotaStatuses>();
    let counted = state.limits.count_request(owner, quotas);
    counted.map_err(|over| ApiError::TooManyRequests {
        retry_after: over.retry_after,
    })
}

async fn verify_credential(
    presented: &str,
    cached_owner: Option<KeyOwner>,
    is_known: bool,
    state: &Arc<AppState>,
) -> Result<Credential, ApiError> {
    if let Some(operator) = verify_operator(presented, is_known, state).await? {
        return Ok(Credential::Operator(operator));
    }
    let tenant = cached_owner.map(|owner| owner.tenant);
    let key = api_keys::authenticate(&state.db, presented, tenant)
        .await?
        .ok_or(ApiError::Unauthorized)?;
    if key.needs_touch {
        record_use(state, &key);
    }
    Ok(Credential::ApiKey(key))
}

/// Returns the operator of a token; `None` if it is unknown, revoked or expired.
pub(crate) async fn verify_operator(
    presented: &str,
    is_known: bool,
    state: &Arc<AppState>,
) -> Result<Option<Operator>, ApiError> {
    if let Some(proof) = OperatorProof::check(&state.operator_tokens, presented) {
        return Ok(Some(Operator::bootstrap(proof)));
    }
    let found = operators::authenticate(&state.db, presented, is_known).await?;
    if let Some(operator) = found.as_ref().filter(|operator| operator.needs_touch) {
        record_operator_use(state, operator);
    }
    Ok(found.as_ref().map(Operator::from))
}

/// Records the use of an operator's token in the background.
fn record_operator_use(state: &Arc<AppState>, operator: &AuthenticatedOperator) {
    let (db, id) = (state.db.clone(), operator.id);
    state.lifecycle.spawn(async move {
        if let Err(error) = operators::touch(&db, id).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                operator.id = %id,
                "failed to record the use of an operator's token"
            );
        }
    });
}

/// Records the use of a key in the background.
fn record_use(state: &Arc<AppState>, key: &AuthenticatedKey) {
    let (db, scope, id) = (state.db.clone(), key.scope, key.id);
    state.lifecycle.spawn(async move {
        if let Err(error) = api_keys::touch(&db, &scope, id).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                api_key.id = %id,
                "failed to record the use of an API key"
            );
        }
    });
}

/// The token of the only `Authorization: Bearer` header.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

pub(crate) fn tenant_header(headers: &HeaderMap) -> Result<Option<TenantId>, ApiError> {
    let malformed = || {
        let reason = "must be one UUID such as 0198c0de-0000-7000-8000-000000000000";
        ApiError::Parameters(vec![FieldProblem::new("X-Tenant-Id", reason)])
    };
    let mut values = headers.get_all(TENANT_HEADER).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(malformed());
    }
    let text = value.to_str().map_err(|_| malformed())?;
    parse_uuid(text)
        .map(|id| Some(TenantId(id)))
        .ok_or_else(malformed)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn only_one_bearer_token_is_accepted() {
        assert_eq!(bearer(&headers(&["Bearer abc"])), Some("abc"));
        assert_eq!(bearer(&headers(&["bearer  abc"])), Some("abc"));
        for rejected in [
            &[][..],
            &["abc"][..],
            &["Bearer"][..],
            &["Bearer "][..],
            &["Basic abc"][..],
            &["Bearer abc", "Bearer abc"][..],
        ] {
            assert_eq!(bearer(&headers(rejected)), None, "{rejected:?}");
        }
    }
}
