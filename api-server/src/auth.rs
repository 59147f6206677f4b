//! Who asks, and whose rows that opens.
//!
//! An extractor either yields a proof or ends the request: a handler that takes
//! [`TenantAuth`] cannot run for anybody else. Another tenant's id and an unknown one get
//! the same answer.

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
use shared::db::{OperatorProof, TenantScope, tenants};
use shared::ids::{ApiKeyId, TenantId};
use shared::server::ClientAddr;

pub(crate) use scopes::*;

use crate::error::{ApiError, FieldProblem};
use crate::limits::{Attempt, KeyOwner, Shares};
use crate::query::parse_uuid;
use crate::state::AppState;

/// The header in which an operator names a tenant.
pub(crate) const TENANT_HEADER: HeaderName = HeaderName::from_static("x-tenant-id");

/// An operator's token was presented.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OperatorAuth(pub(crate) OperatorProof);

/// Somebody who may do what `S` names with one tenant's rows.
#[derive(Debug)]
pub(crate) struct TenantAuth<S> {
    pub(crate) scope: TenantScope,
    pub(crate) principal: Principal,
    _needs: PhantomData<S>,
}

/// Who it is.
#[derive(Debug, Clone)]
pub(crate) enum Principal {
    /// An operator.
    Operator,
    /// The holder of a tenant's key.
    ApiKey(ApiKeyId),
}

impl Principal {
    /// As the audit log names it.
    pub(crate) const fn actor(&self) -> AuditActor {
        match self {
            Self::Operator => AuditActor::Operator,
            Self::ApiKey(id) => AuditActor::ApiKey(*id),
        }
    }

    /// The key, if it is one.
    pub(crate) const fn key(&self) -> Option<ApiKeyId> {
        match self {
            Self::Operator => None,
            Self::ApiKey(id) => Some(*id),
        }
    }

    pub(crate) const fn is_operator(&self) -> bool {
        matches!(self, Self::Operator)
    }
}

impl FromRequestParts<Arc<AppState>> for OperatorAuth {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Arc<AppState>,
    ) -> Result<Self, ApiError> {
        match authenticate(parts, state).await? {
            Credential::Operator(proof) => Ok(Self(proof)),
            Credential::ApiKey(_) => Err(ApiError::OperatorOnly),
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
        let named = named_tenant(&parts.headers)?;
        let (scope, principal) = match credential {
            Credential::Operator(proof) => {
                let tenant = named.ok_or(ApiError::TenantRequired)?;
                if tenant == TenantId::UNASSIGNED && !S::UNASSIGNED {
                    return Err(ApiError::NotFound("tenant"));
                }
                let scope = tenants::scope(&state.db, proof, tenant)
                    .await?
                    .ok_or(ApiError::NotFound("tenant"))?;
                (scope, Principal::Operator)
            }
            Credential::ApiKey(key) => {
                // A key that is sent to the wrong tenant must not act on its own.
                if named.is_some_and(|tenant| tenant != key.scope.tenant_id()) {
                    return Err(ApiError::NotFound("tenant"));
                }
                if !key.scopes.contains(&S::SCOPE) {
                    return Err(ApiError::InsufficientScope(S::SCOPE));
                }
                (key.scope, Principal::ApiKey(key.id))
            }
        };
        Ok(Self {
            scope,
            principal,
            _needs: PhantomData,
        })
    }
}

enum Credential {
    Operator(OperatorProof),
    ApiKey(AuthenticatedKey),
}

impl Credential {
    /// The key and its tenant, if it is a key.
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

/// Checks the credential of a request, unless too many of its client have failed.
///
/// A request of a key that was accepted lately is metered first, so that one over the limit costs
/// no database connection. Within the limit the key is checked as ever: a revoked key opens
/// nothing from then on.
async fn authenticate(parts: &Parts, state: &Arc<AppState>) -> Result<Credential, ApiError> {
    let presented = bearer(&parts.headers).ok_or(ApiError::Unauthorized)?;
    let client = parts.extensions.get::<ClientAddr>().copied();
    let attempt = Attempt::new(client, presented);
    let throttle = &state.limits.throttle;
    if let Some(retry_after) = throttle.wait(&attempt, Instant::now()) {
        return Err(ApiError::AuthenticationThrottled { retry_after });
    }
    let known = throttle.owner(&attempt, Instant::now());
    if let Some(owner) = known {
        count_request(parts, state, owner)?;
    }
    match check(presented, known, state).await {
        Ok(credential) => {
            let owner = credential.owner();
            throttle.succeeded(&attempt, owner, Instant::now());
            if let (None, Some(owner)) = (known, owner) {
                count_request(parts, state, owner)?;
            }
            Ok(credential)
        }
        Err(error) => {
            if matches!(error, ApiError::Unauthorized) {
                throttle.failed(attempt, Instant::now());
            }
            Err(error)
        }
    }
}

/// Counts a request of a key, unless that is over its limit.
fn count_request(parts: &Parts, state: &AppState, owner: KeyOwner) -> Result<(), ApiError> {
    let shares = parts.extensions.get::<Shares>();
    let counted = state.limits.count_request(owner, shares);
    counted.map_err(|over| ApiError::TooManyRequests {
        retry_after: over.retry_after,
    })
}

async fn check(
    presented: &str,
    known: Option<KeyOwner>,
    state: &Arc<AppState>,
) -> Result<Credential, ApiError> {
    if let Some(proof) = OperatorProof::check(&state.operator_tokens, presented) {
        return Ok(Credential::Operator(proof));
    }
    let tenant = known.map(|owner| owner.tenant);
    let key = api_keys::authenticate(&state.db, presented, tenant)
        .await?
        .ok_or(ApiError::Unauthorized)?;
    if key.use_unnoted {
        note_use(state, &key);
    }
    Ok(Credential::ApiKey(key))
}

/// Notes the use of a key, not in the request's way.
fn note_use(state: &Arc<AppState>, key: &AuthenticatedKey) {
    let (db, scope, id) = (state.db.clone(), key.scope, key.id);
    state.lifecycle.spawn(async move {
        if let Err(error) = api_keys::touch(&db, &scope, id).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                api_key.id = %id,
                "the key's use was not noted"
            );
        }
    });
}

/// The token of the one `Authorization: Bearer` header.
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

fn named_tenant(headers: &HeaderMap) -> Result<Option<TenantId>, ApiError> {
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
    fn one_bearer_token_is_taken_and_nothing_else() {
        assert_eq!(bearer(&headers(&["Bearer abc"])), Some("abc"));
        assert_eq!(bearer(&headers(&["bearer  abc"])), Some("abc"));
        for refused in [
            &[][..],
            &["abc"][..],
            &["Bearer"][..],
            &["Bearer "][..],
            &["Basic abc"][..],
            &["Bearer abc", "Bearer abc"][..],
        ] {
            assert_eq!(bearer(&headers(refused)), None, "{refused:?}");
        }
    }
}
