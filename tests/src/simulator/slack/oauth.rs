//! The consent page.
//!
//! A browser session is the cookie `user_session=<user id>`; whoever names a user is that
//! user. Consent is given at once.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use url::Url;

use super::Slack;
use super::world::Code;

/// How long a code may be exchanged.
const CODE_LIFE: i64 = 600;

type Hub = Arc<Slack>;
type Fields = HashMap<String, String>;

pub(crate) fn router(hub: &Hub) -> Router {
    Router::new()
        .route("/oauth/v2/authorize", get(authorize))
        .route("/session", post(sign_in))
        .with_state(Arc::clone(hub))
}

/// The user of the browser session.
fn session_user(hub: &Slack, headers: &HeaderMap) -> Option<String> {
    let id = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .find_map(|pair| pair.trim().strip_prefix("user_session="))?
        .to_owned();
    let world = hub.world();
    let user = world.users.get(&id)?;
    (!user.bot).then_some(id)
}

fn page(status: StatusCode, text: &str) -> Response {
    let html = format!("<!doctype html><title>Slack</title><h1>Simulated Slack</h1>{text}");
    (status, Html(html)).into_response()
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
    let given = field("redirect_uri");
    if !given.is_empty() && given != hub.app.callback_url {
        return page(
            StatusCode::BAD_REQUEST,
            "<p>redirect_uri did not match any configured URIs</p>",
        );
    }
    if field("scope").is_empty() && field("user_scope").is_empty() {
        return page(StatusCode::BAD_REQUEST, "<p>invalid_scope</p>");
    }
    let Some(user) = session_user(&hub, &headers) else {
        let return_to = uri.to_string().replace('&', "&amp;").replace('"', "&quot;");
        return page(
            StatusCode::OK,
            &format!(
                "<form method=\"post\" action=\"/slack/session\">\
                 <input type=\"hidden\" name=\"return_to\" value=\"/slack{return_to}\">\
                 <label>User id <input name=\"login\" autofocus></label> <button>Sign in</button></form>"
            ),
        );
    };
    let Ok(mut target) = Url::parse(&hub.app.callback_url) else {
        return page(StatusCode::BAD_REQUEST, "<p>bad_redirect_uri</p>");
    };
    if hub.settings().deny_authorizations {
        target
            .query_pairs_mut()
            .append_pair("error", "access_denied")
            .append_pair("state", &field("state"));
        return redirect(&target);
    }
    let now = hub.core.clock.seconds();
    let mut world = hub.world();
    let team = world
        .users
        .get(&user)
        .map(|user| user.team.clone())
        .unwrap_or_default();
    let code = format!("{}.{}", world.number(), world.secret(32));
    world.codes.insert(
        code.clone(),
        Code {
            team,
            user,
            redirect_uri: given,
            scopes: field("scope")
                .split([',', ' '])
                .map(str::to_owned)
                .collect(),
            expires_at: now + CODE_LIFE,
        },
    );
    target
        .query_pairs_mut()
        .append_pair("code", &code)
        .append_pair("state", &field("state"));
    redirect(&target)
}

async fn sign_in(State(hub): State<Hub>, Form(fields): Form<Fields>) -> Response {
    let login = fields.get("login").cloned().unwrap_or_default();
    let return_to = fields
        .get("return_to")
        .filter(|path| path.starts_with("/slack/"))
        .cloned()
        .unwrap_or_else(|| "/".to_owned());
    if !hub.world().users.contains_key(&login) {
        return page(
            StatusCode::UNPROCESSABLE_ENTITY,
            "<p>There is no such user.</p>",
        );
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
