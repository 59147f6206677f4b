//! Sign-in to the console by an operator's token or by a login link, and sign-out.
//!
//! Opening a link shows a button; only the button's POST consumes it. A browser that follows links
//! to show a preview therefore changes nothing.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::header::SET_COOKIE;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use shared::db::audit::{self, AuditActor, AuditEntry};
use shared::db::operator_sessions::{self, SECRET_LENGTH, SessionOwner};
use shared::db::{OperatorProof, TenantScope, Tx};
use shared::server::ClientAddr;

use super::cookie::SessionCookie;
use super::session::{Form, LiveSession, Rejection, check_origin, only, read_fields, redirect};
use crate::auth::verify_operator;
use crate::error::ApiError;
use crate::limits::Attempt;
use crate::pages::console::{SignInNotice, SignInView};
use crate::query::{FromQuery, Query, QueryReader};
use crate::state::AppState;

/// The parameters of the page.
#[derive(Debug)]
pub(super) struct SignInQuery {
    link: Option<String>,
    next: Option<String>,
    signed_out: bool,
}

impl FromQuery for SignInQuery {
    fn read(query: &mut QueryReader) -> Self {
        Self {
            link: query.value("link", "the token of a link", |text| Some(text.to_owned())),
            next: query.value("next", "a path of the console", next_path),
            signed_out: query.enum_value("signed_out").unwrap_or(false),
        }
    }
}

/// Accepts a path of the console, and no other target of a redirect.
fn next_path(text: &str) -> Option<String> {
    let rest = text.strip_prefix("/console")?;
    let is_own = rest.is_empty() || rest.starts_with('/') || rest.starts_with('?');
    let is_plain = text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'\\')
        && !text.contains("..");
    (is_own && is_plain && text.len() <= 2000).then(|| text.to_owned())
}

/// The page with the form, or with the button of a link.
pub(super) async fn show(
    State(state): State<Arc<AppState>>,
    session: Result<LiveSession, Rejection>,
    Query(query): Query<SignInQuery>,
) -> Result<Response, Rejection> {
    match (session, &query.link) {
        (Ok(_), None) => return Ok(redirect(query.next.as_deref().unwrap_or("/console"))),
        (Err(Rejection::Api(error)), _) => return Err(error.into()),
        _ => {}
    }
    let operator = match &query.link {
        Some(token) => find_link(&state, token).await?,
        None => None,
    };
    let notice = match (&query.link, &operator) {
        (Some(_), None) => Some(SignInNotice::ClosedLink),
        _ if query.signed_out => Some(SignInNotice::SignedOut),
        _ => None,
    };
    let view = SignInView {
        link: query.link.as_deref().zip(operator.as_deref()),
        next: query.next.as_deref(),
        notice,
    };
    Ok(state.pages.respond_sign_in(&view))
}

async fn find_link(state: &AppState, token: &str) -> Result<Option<String>, ApiError> {
    if token.len() != SECRET_LENGTH {
        return Ok(None);
    }
    Ok(operator_sessions::find_link(&state.db, token).await?)
}

/// Signs in with the token or the link of the form.
pub(super) async fn sign_in(
    State(state): State<Arc<AppState>>,
    request: Request,
) -> Result<Response, Rejection> {
    check_origin(request.headers(), &state.public_url)?;
    let client = request.extensions().get::<ClientAddr>().copied();
    let fields = read_fields(request, &state).await?;
    let next = only(&fields, "next").and_then(next_path);
    let presented = match (only(&fields, "link"), only(&fields, "operator_token")) {
        (Some(link), None) => Presented::Link(link),
        (None, Some(token)) => Presented::Token(token.trim()),
        _ => return Err(ApiError::ForgedForm.into()),
    };
    let Some(cookie) = start(&state, client, &presented).await? else {
        let view = SignInView {
            link: None,
            next: next.as_deref(),
            notice: Some(match presented {
                Presented::Link(_) => SignInNotice::ClosedLink,
                Presented::Token(_) => SignInNotice::UnknownToken,
            }),
        };
        return Ok(state.pages.respond_sign_in(&view));
    };
    let cookie = cookie
        .set(&state.public_url)
        .map_err(|_| ApiError::InvalidState)?;
    let response = redirect(next.as_deref().unwrap_or("/console"));
    Ok(([(SET_COOKIE, cookie)], response).into_response())
}

/// The credential that a form presents.
enum Presented<'a> {
    Link(&'a str),
    Token(&'a str),
}

/// Starts a session, unless the client is throttled; `None` if the credential is not valid.
async fn start(
    state: &Arc<AppState>,
    client: Option<ClientAddr>,
    presented: &Presented<'_>,
) -> Result<Option<SessionCookie>, ApiError> {
    let text = match presented {
        Presented::Link(text) | Presented::Token(text) => *text,
    };
    let attempt = Attempt::new(client, text);
    let throttle = &state.limits.throttle;
    if let Some(retry_after) = throttle.retry_after(&attempt, Instant::now()) {
        return Err(ApiError::AuthenticationThrottled { retry_after });
    }
    let started = match presented {
        Presented::Link(link) => start_by_link(state, link).await?,
        Presented::Token(token) => start_by_token(state, token).await?,
    };
    if started.is_none() {
        throttle.record_failure(attempt, Instant::now());
    }
    Ok(started)
}

async fn start_by_link(state: &AppState, link: &str) -> Result<Option<SessionCookie>, ApiError> {
    if link.len() != SECRET_LENGTH {
        return Ok(None);
    }
    let mut tx = state.db.begin(&TenantScope::unassigned()).await?;
    let Some(operator) = operator_sessions::use_link(&mut tx, link).await? else {
        return Ok(None);
    };
    let actor = AuditActor::NamedOperator(operator);
    let cookie = start_session(&mut tx, SessionOwner::Named(operator), actor, "link").await?;
    tx.commit().await?;
    Ok(Some(cookie))
}

async fn start_by_token(
    state: &Arc<AppState>,
    token: &str,
) -> Result<Option<SessionCookie>, ApiError> {
    let Some(operator) = verify_operator(token, false, state).await? else {
        return Ok(None);
    };
    let owner = if let Some(id) = operator.id {
        SessionOwner::Named(id)
    } else {
        let mut configured = state.operator_tokens.iter();
        let presented = configured.find(|configured| {
            OperatorProof::check(std::slice::from_ref(*configured), token).is_some()
        });
        SessionOwner::bootstrap(presented.ok_or(ApiError::Unauthorized)?)
    };
    let mut tx = state.db.begin(&operator.proof.unassigned()).await?;
    let cookie = start_session(&mut tx, owner, operator.actor(), "token").await?;
    tx.commit().await?;
    Ok(Some(cookie))
}

async fn start_session(
    tx: &mut Tx,
    owner: SessionOwner,
    actor: AuditActor,
    by: &str,
) -> Result<SessionCookie, ApiError> {
    let (id, secret) = operator_sessions::start(tx, owner).await?;
    let entry = AuditEntry::new(actor, "operator.signed_in")
        .target(id)
        .detail(json!({ "by": by }));
    audit::record(tx, &TenantScope::unassigned(), &entry).await?;
    Ok(SessionCookie::new(secret))
}

/// Ends the session of the form.
pub(super) async fn sign_out(
    State(state): State<Arc<AppState>>,
    form: Form,
) -> Result<Response, Rejection> {
    let operator = form.session.operator();
    let scope = operator.proof.unassigned();
    let mut tx = state.db.begin(&scope).await?;
    operator_sessions::end(&mut tx, form.session.stored.id).await?;
    let entry =
        AuditEntry::new(operator.actor(), "operator.signed_out").target(form.session.stored.id);
    audit::record(&mut tx, &scope, &entry).await?;
    tx.commit().await?;
    let cookie = SessionCookie::unset(&state.public_url).map_err(|_| ApiError::InvalidState)?;
    let response = redirect("/console/login?signed_out=true");
    Ok(([(SET_COOKIE, cookie)], response).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_page_is_of_the_console() {
        for good in ["/console", "/console/jobs?state=dead", "/console?x=1"] {
            assert_eq!(next_path(good).as_deref(), Some(good));
        }
        for bad in [
            "",
            "/",
            "//evil.example.com",
            "/consoles",
            "https://evil.example.com/console",
            "/console/../v1",
            "/console\\evil",
            "/console/a b",
            "/console/\r\nx: y",
        ] {
            assert_eq!(next_path(bad), None, "{bad:?}");
        }
    }
}
