//! The session of a request to the console, and the checks of its forms.
//!
//! A handler that changes something takes a [`Form`], which exists only for a request of this
//! origin with the token of the session. Its handlers check the role as the API does.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::{CONTENT_TYPE, LOCATION, ORIGIN};
use axum::http::request::Parts;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use shared::db::operator_sessions::{self, OperatorSession, SessionOwner};
use shared::model::TenantId;
use url::{Url, form_urlencoded};

use super::cookie::SessionCookie;
use crate::auth::{Operator, RequiredScope, TenantAuth, TenantOperator};
use crate::error::ApiError;
use crate::pages::console::{FORM_TOKEN, SignedIn};
use crate::state::AppState;

/// An operator who is signed in to the console.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) stored: OperatorSession,
    cookie: SessionCookie,
    form_token: String,
}

/// A session that a live update belongs to; such a request is no activity.
#[derive(Debug)]
pub(super) struct LiveSession(pub(super) Session);

/// The fields of a form of this origin and session.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) session: Session,
    fields: Vec<(String, String)>,
}

/// The reason why a request to the console is not handled.
#[derive(Debug)]
pub(super) enum Rejection {
    /// The browser must sign in first, and then continues with this path.
    SignIn(String),
    Api(ApiError),
}

impl From<ApiError> for Rejection {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl From<sqlx::Error> for Rejection {
    fn from(error: sqlx::Error) -> Self {
        Self::Api(error.into())
    }
}

impl From<shared::db::DbError> for Rejection {
    fn from(error: shared::db::DbError) -> Self {
        Self::Api(error.into())
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        match self {
            Self::SignIn(next) => {
                let query: String = form_urlencoded::Serializer::new(String::new())
                    .append_pair("next", &next)
                    .finish();
                redirect(&format!("/console/login?{query}"))
            }
            Self::Api(error) => error.into_response(),
        }
    }
}

/// A redirect that the browser follows with GET.
pub(super) fn redirect(path: &str) -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, path)]).into_response()
}

impl Session {
    pub(super) fn operator(&self) -> Operator {
        Operator::from(&self.stored)
    }

    /// The operator as pages show it.
    pub(super) fn signed_in(&self) -> SignedIn<'_> {
        SignedIn {
            name: &self.stored.name,
            role: self.stored.role,
            form_token: &self.form_token,
        }
    }

    /// The operator in a tenant.
    pub(super) async fn in_tenant(
        &self,
        state: &AppState,
        tenant: TenantId,
    ) -> Result<TenantOperator, ApiError> {
        self.operator().in_tenant(state, tenant).await
    }

    /// The proof that the operator has the scope `S` in a tenant, for handlers of the API.
    pub(super) async fn tenant<S: RequiredScope>(
        &self,
        state: &AppState,
        tenant: TenantId,
    ) -> Result<TenantAuth<S>, ApiError> {
        TenantAuth::of_operator(state, self.operator(), Some(tenant)).await
    }

    /// The valid session of a request's cookie.
    pub(super) async fn find(
        headers: &HeaderMap,
        state: &AppState,
    ) -> Result<Option<Self>, ApiError> {
        let Some(cookie) = SessionCookie::from_headers(headers, &state.public_url) else {
            return Ok(None);
        };
        let bootstrap: Vec<_> = state
            .operator_tokens
            .iter()
            .map(SessionOwner::bootstrap)
            .collect();
        let found = operator_sessions::find(&state.db, cookie.secret(), &bootstrap).await?;
        Ok(found.map(|stored| Self {
            form_token: cookie.form_token(),
            stored,
            cookie,
        }))
    }
}

impl FromRequestParts<Arc<AppState>> for Session {
    type Rejection = Rejection;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Arc<AppState>,
    ) -> Result<Self, Rejection> {
        let LiveSession(session) = LiveSession::from_request_parts(parts, state).await?;
        if session.stored.needs_touch {
            operator_sessions::touch(&state.db, session.stored.id).await?;
        }
        Ok(session)
    }
}

impl FromRequestParts<Arc<AppState>> for LiveSession {
    type Rejection = Rejection;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Arc<AppState>,
    ) -> Result<Self, Rejection> {
        let found = Session::find(&parts.headers, state).await?;
        found.map(Self).ok_or_else(|| {
            let path = parts.uri.path_and_query().map(PathAndQuery::as_str);
            let is_page = parts.method == Method::GET;
            Rejection::SignIn(path.filter(|_| is_page).unwrap_or("/console").to_owned())
        })
    }
}

impl FromRequest<Arc<AppState>> for Form {
    type Rejection = Rejection;

    async fn from_request(request: Request, state: &Arc<AppState>) -> Result<Self, Rejection> {
        check_origin(request.headers(), &state.public_url)?;
        let (mut parts, body) = request.into_parts();
        let session = Session::from_request_parts(&mut parts, state).await?;
        let fields = read_fields(Request::from_parts(parts, body), state).await?;
        let form = Self { session, fields };
        let token = form.only(FORM_TOKEN).unwrap_or_default();
        if !form.session.cookie.verify_form_token(token) {
            return Err(ApiError::ForgedForm.into());
        }
        Ok(form)
    }
}

impl Form {
    /// The value of a field; `None` if it is absent or repeated.
    pub(super) fn only(&self, name: &str) -> Option<&str> {
        only(&self.fields, name)
    }

    /// The values of a field.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = self.fields.iter().filter(move |(key, _)| key == name);
        named.map(|(_, value)| value.as_str())
    }
}

/// The only value of a name.
pub(super) fn only<'f>(fields: &'f [(String, String)], name: &str) -> Option<&'f str> {
    let mut values = fields.iter().filter(|(key, _)| key == name);
    let (_, value) = values.next()?;
    values.next().is_none().then_some(value.as_str())
}

/// Reads the fields of a form.
pub(super) async fn read_fields(
    request: Request,
    state: &Arc<AppState>,
) -> Result<Vec<(String, String)>, ApiError> {
    let is_form = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("application/x-www-form-urlencoded"));
    let bytes = Bytes::from_request(request, state)
        .await
        .map_err(|_| ApiError::PayloadTooLarge)?;
    if !is_form {
        return Err(ApiError::ForgedForm);
    }
    let fields: Vec<(String, String)> = form_urlencoded::parse(&bytes).into_owned().collect();
    // PostgreSQL cannot store NUL in text.
    if fields.iter().any(|(_, value)| value.contains('\0')) {
        return Err(ApiError::ForgedForm);
    }
    Ok(fields)
}

/// Rejects a form of another site.
///
/// Browsers send `Origin` with every POST; one without it is rejected as well.
pub(super) fn check_origin(headers: &HeaderMap, public_url: &Url) -> Result<(), ApiError> {
    let own = public_url.origin().ascii_serialization();
    let mut origins = headers.get_all(ORIGIN).iter();
    let is_own = origins
        .next()
        .is_some_and(|origin| origin.as_bytes() == own.as_bytes());
    let is_only = origins.next().is_none();
    let fetch_site = headers.get("sec-fetch-site");
    let is_same_site = fetch_site.is_none_or(|site| site.as_bytes() == b"same-origin");
    if is_own && is_only && is_same_site {
        Ok(())
    } else {
        Err(ApiError::ForgedForm)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn only_forms_of_this_origin_are_accepted() {
        let public = Url::parse("https://connect.example.com/base").expect("a URL");
        let check = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                );
            }
            check_origin(&headers, &public).is_ok()
        };
        let own = ("origin", "https://connect.example.com");
        assert!(check(&[own]));
        assert!(check(&[own, ("sec-fetch-site", "same-origin")]));
        for forged in [
            &[][..],
            &[("origin", "null")][..],
            &[("origin", "https://evil.example.com")][..],
            &[("origin", "http://connect.example.com")][..],
            &[("origin", "https://connect.example.com.evil.com")][..],
            &[own, own][..],
            &[own, ("sec-fetch-site", "cross-site")][..],
            &[own, ("sec-fetch-site", "same-site")][..],
        ] {
            assert!(!check(forged), "{forged:?}");
        }
    }
}
