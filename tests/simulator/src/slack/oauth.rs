//! The consent page.
//!
//! A browser session is the cookie `user_session=<user id>`, without a password. The page
//! consents immediately: for the workspace or organization of the argument `team` or the cookie
//! `slack_team`, otherwise for the one of which the person is an admin or a member.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use url::Url;

use super::Slack;
use super::world::{Code, World};

/// Lifetime of an authorization code.
const CODE_TTL_SECONDS: i64 = 600;

type Hub = Arc<Slack>;
type Fields = HashMap<String, String>;

pub(crate) fn router(hub: &Hub) -> Router {
    Router::new()
        .route("/oauth/v2/authorize", get(authorize))
        .route("/session", post(sign_in))
        .with_state(Arc::clone(hub))
}

fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .find_map(|pair| {
            let (key, value) = pair.trim().split_once('=')?;
            (key == name).then(|| value.to_owned())
        })
}

/// The user of the browser session.
fn session_user(hub: &Slack, headers: &HeaderMap) -> Option<String> {
    let id = cookie(headers, "user_session")?;
    let world = hub.world();
    let user = world.users.get(&id)?;
    (!user.bot).then_some(id)
}

fn page(status: StatusCode, text: &str) -> Response {
    let html = format!("<!doctype html><title>Slack</title><h1>Simulated Slack</h1>{text}");
    (status, Html(html)).into_response()
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
    State(hub): State<Hub>,
    uri: Uri,
    headers: HeaderMap,
    Query(fields): Query<Fields>,
) -> Response {
    let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
    if field("client_id") != hub.app.client_id {
        return page(StatusCode::BAD_REQUEST, "<p>invalid_client_id</p>");
    }
    let callback = hub.settings().callback_url.clone();
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
    let Some(user) = session_user(&hub, &headers) else {
        return sign_in_page(&uri);
    };
    let Ok(mut target) = Url::parse(&callback) else {
        return page(StatusCode::BAD_REQUEST, "<p>bad_redirect_uri</p>");
    };
    let requested = Some(field("team"))
        .filter(|team| !team.is_empty())
        .or_else(|| cookie(&headers, "slack_team"));
    let Some(account) = choose_account(&hub.world(), &user, requested.as_deref()) else {
        return page(
            StatusCode::FORBIDDEN,
            "<p>You may not install apps there.</p>",
        );
    };
    if hub.settings().deny_authorizations {
        target
            .query_pairs_mut()
            .append_pair("error", "access_denied")
            .append_pair("state", &field("state"));
        return redirect(&target);
    }
    let expires_at = hub.core.clock.seconds() + CODE_TTL_SECONDS;
    let code = hub.world().store_consent(Code {
        account,
        user,
        redirect_uri,
        scopes,
        user_scopes,
        challenge: fields.get("code_challenge").cloned(),
        expires_at,
    });
    target
        .query_pairs_mut()
        .append_pair("code", &code)
        .append_pair("state", &field("state"));
    redirect(&target)
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
    let return_to = uri.to_string().replace('&', "&amp;").replace('"', "&quot;");
    page(
        StatusCode::OK,
        &format!(
            "<form method=\"post\" action=\"/slack/session\">\
             <input type=\"hidden\" name=\"return_to\" value=\"/slack{return_to}\">\
             <label>User id <input name=\"login\" autofocus></label> <button>Sign in</button></form>"
        ),
    )
}

async fn sign_in(State(hub): State<Hub>, Form(fields): Form<Fields>) -> Response {
    let login = fields.get("login").cloned().unwrap_or_default();
    let return_to = fields
        .get("return_to")
        .filter(|path| path.starts_with("/slack/"))
        .cloned()
        .unwrap_or_else(|| "/".to_owned());
    if !hub.world().users.contains_key(&login) {
        return page(StatusCode::UNPROCESSABLE_ENTITY, "<p>User not found</p>");
    }
    let cookie = format!("user_session={login}; Path=/; HttpOnly; SameSite=Lax");
    (
        StatusCode::FOUND,
        [(header::SET_COOKIE, cookie), (header::LOCATION, return_to)],
    )
        .into_response()
}

fn redirect(target: &Url) -> Response {
    (StatusCode::FOUND, [(header::LOCATION, target.as_str())]).into_response()
}
