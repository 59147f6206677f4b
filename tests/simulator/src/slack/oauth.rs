//! The consent page.
//!
//! The login of a browser session is the user's id. The page consents immediately: for the workspace or organization of the argument `team` or the cookie
//! `slack_team`, otherwise for the one of which the person is an admin or a member.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use axum::routing::{get, post};
use url::Url;

use super::Slack;
use super::world::{Code, World};
use crate::oauth::{self, cookie, redirect, session, sign_in_form, start_session};

/// Lifetime of an authorization code.
const CODE_TTL_SECONDS: i64 = 600;

type Service = Arc<Slack>;
type Fields = HashMap<String, String>;

pub(crate) fn router(service: &Service) -> Router {
    Router::new()
        .route("/oauth/v2/authorize", get(authorize))
        .route("/session", post(sign_in))
        .with_state(Arc::clone(service))
}

/// The user of the browser session.
fn session_user(service: &Slack, headers: &HeaderMap) -> Option<String> {
    let id = session(headers)?;
    let world = service.world();
    let user = world.users.get(&id)?;
    (!user.bot).then_some(id)
}

fn page(status: StatusCode, text: &str) -> Response {
    oauth::page("Slack", status, text)
}

fn split_scopes(text: &str) -> Vec<String> {
    text.split([',', ' '])
        .filter(|scope| !scope.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Account of a consent; `None` if the person may not install apps there.
fn choose_account(world: &World, user: &str, requested: Option<&str>) -> Option<String> {
    let person = world.users.get(user)?;
    let own = world.teams.get(&person.team)?;
    let administered = own
        .organization
        .as_ref()
        .filter(|id| world.organizations[*id].admin == user);
    let chosen = match (requested, administered) {
        (Some(requested), _) => requested,
        (None, Some(organization)) => organization,
        (None, None) => &own.id,
    };
    let within = |id: &str| {
        let team = world.teams.get(id);
        team.is_some_and(|team| team.organization.as_ref() == administered)
    };
    let is_permitted = chosen == own.id
        || administered.is_some_and(|organization| organization == chosen || within(chosen));
    is_permitted.then(|| chosen.to_owned())
}

async fn authorize(
    State(service): State<Service>,
    uri: Uri,
    headers: HeaderMap,
    Query(fields): Query<Fields>,
) -> Response {
    let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
    if field("client_id") != service.app.client_id {
        return page(StatusCode::BAD_REQUEST, "<p>invalid_client_id</p>");
    }
    let callback = service.settings().callback_url.clone();
    let redirect_uri = field("redirect_uri");
    if !redirect_uri.is_empty() && redirect_uri != callback {
        return page(
            StatusCode::BAD_REQUEST,
            "<p>redirect_uri did not match any configured URIs</p>",
        );
    }
    let (scopes, user_scopes) = (
        split_scopes(&field("scope")),
        split_scopes(&field("user_scope")),
    );
    if scopes.is_empty() && user_scopes.is_empty() {
        return page(StatusCode::BAD_REQUEST, "<p>invalid_scope</p>");
    }
    let Some(user) = session_user(&service, &headers) else {
        return sign_in_page(&uri);
    };
    let Ok(target) = Url::parse(&callback) else {
        return page(StatusCode::BAD_REQUEST, "<p>bad_redirect_uri</p>");
    };
    let requested = Some(field("team"))
        .filter(|team| !team.is_empty())
        .or_else(|| cookie(&headers, "slack_team"));
    let Some(account) = choose_account(&service.world(), &user, requested.as_deref()) else {
        return page(
            StatusCode::FORBIDDEN,
            "<p>You may not install apps there.</p>",
        );
    };
    let state = field("state");
    if service.settings().deny_authorizations {
        return redirect(
            target,
            [("error", "access_denied"), ("state", state.as_str())],
        );
    }
    let expires_at = service.core.clock.seconds() + CODE_TTL_SECONDS;
    let code = service.world().store_consent(Code {
        account,
        user,
        redirect_uri,
        scopes,
        user_scopes,
        challenge: fields.get("code_challenge").cloned(),
        expires_at,
    });
    redirect(target, [("code", code.as_str()), ("state", state.as_str())])
}

impl World {
    /// Stores a consent and returns its authorization code.
    fn store_consent(&mut self, consent: Code) -> String {
        let code = format!("{}.{}", self.number(), self.secret(32));
        self.codes.insert(code.clone(), consent);
        code
    }
}

fn sign_in_page(uri: &Uri) -> Response {
    let return_to = format!("/slack{uri}");
    let form = sign_in_form("/slack/session", &return_to, "User id");
    page(StatusCode::OK, &form)
}

async fn sign_in(State(service): State<Service>, Form(fields): Form<Fields>) -> Response {
    let login = fields.get("login").map(String::as_str).unwrap_or_default();
    let return_to = fields
        .get("return_to")
        .filter(|path| path.starts_with("/slack/"));
    if !service.world().users.contains_key(login) {
        return page(StatusCode::UNPROCESSABLE_ENTITY, "<p>User not found</p>");
    }
    start_session(login, return_to)
}
