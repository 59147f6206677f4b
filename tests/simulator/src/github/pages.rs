//! Web pages: sign-in and installation of the app.
//!
//! The cookie `user_session=<login>` is the browser session and needs no password. `/apps/{slug}`
//! and GitHub Enterprise's `/github-apps/{slug}` serve the same pages.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Form, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::GitHub;
use super::actions::{install, request_installation};
use super::oauth::redirect_back;
use super::world::{Id, PersonKind, Selection};

type Hub = Arc<GitHub>;
type Fields = HashMap<String, String>;

pub(crate) fn router() -> Router<Hub> {
    let installation = get(new_installation).post(install_from_form);
    Router::new()
        .route("/session", post(sign_in))
        .route("/apps/{slug}/installations/new", installation.clone())
        .route("/github-apps/{slug}/installations/new", installation)
}

/// User of the browser session.
pub(crate) fn session_user(hub: &GitHub, headers: &HeaderMap) -> Option<Id> {
    let cookies = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let login = cookies
        .flat_map(|line| line.split(';'))
        .find_map(|pair| pair.trim().strip_prefix("user_session="))?;
    let world = hub.world();
    let id = world.person_id(login)?;
    let person = world.people.get(&id)?;
    (person.kind == PersonKind::User && !person.ghost).then_some(id)
}

/// Escapes text for HTML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Sign-in form, which returns to the given page.
pub(crate) fn login_page(return_to: &str) -> Html<String> {
    Html(format!(
        "<!doctype html><title>Sign in</title><h1>Sign in to the simulated GitHub</h1>\
         <form method=\"post\" action=\"/session\">\
         <input type=\"hidden\" name=\"return_to\" value=\"{}\">\
         <label>Login <input name=\"login\" autofocus></label> <button>Sign in</button></form>",
        escape(return_to)
    ))
}

async fn sign_in(State(hub): State<Hub>, Form(fields): Form<Fields>) -> Response {
    let login = fields.get("login").map(String::as_str).unwrap_or_default();
    let return_to = fields
        .get("return_to")
        .filter(|path| path.starts_with('/') && !path.starts_with("//"));
    if hub.world().person_id(login).is_none() {
        return (
            StatusCode::UNPROCESSABLE_ENTITY,
            Html("<p>Incorrect username.</p>"),
        )
            .into_response();
    }
    let cookie = format!("user_session={login}; Path=/; HttpOnly; SameSite=Lax");
    let location = return_to.cloned().unwrap_or_else(|| "/".to_owned());
    (
        StatusCode::FOUND,
        [(header::SET_COOKIE, cookie), (header::LOCATION, location)],
    )
        .into_response()
}

async fn new_installation(
    State(hub): State<Hub>,
    Path(slug): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    Query(fields): Query<Fields>,
) -> Response {
    if slug != hub.app.slug {
        return not_found_page();
    }
    let Some(user) = session_user(&hub, &headers) else {
        return login_page(&uri.to_string()).into_response();
    };
    let state = fields.get("state").map(String::as_str).unwrap_or_default();
    let world = hub.world();
    let mut page = format!(
        "<!doctype html><title>Install {slug}</title><h1>Install {slug}</h1><p>Where do you want to install it?</p>"
    );
    for account in world
        .accounts
        .values()
        .filter(|account| account.members.contains(&user))
    {
        let login = escape(world.login(account.id));
        let button = match (
            account.admin == user,
            world.installation_for(account.id).is_some(),
        ) {
            (true, false) => "Install",
            (true, true) => "Configure",
            (false, _) => "Request",
        };
        let form = format!(
            "<form method=\"post\" action=\"{}\"><input type=\"hidden\" name=\"state\" value=\"{}\">\
             <input type=\"hidden\" name=\"account\" value=\"{login}\"><b>{login}</b> <button>{button}</button></form>",
            escape(uri.path()),
            escape(state)
        );
        if writeln!(page, "{form}").is_err() {
            break;
        }
    }
    Html(page).into_response()
}

fn not_found_page() -> Response {
    (StatusCode::NOT_FOUND, Html("<h1>404</h1>")).into_response()
}

/// Installs the app if the user is the admin, or requests the installation.
async fn install_from_form(
    State(hub): State<Hub>,
    Path(slug): Path<String>,
    headers: HeaderMap,
    Form(fields): Form<Fields>,
) -> Response {
    let Some(user) = session_user(&hub, &headers) else {
        return (StatusCode::UNAUTHORIZED, Html("<p>Sign in first.</p>")).into_response();
    };
    if slug != hub.app.slug {
        return not_found_page();
    }
    let Some(login) = fields.get("account") else {
        return (
            StatusCode::UNPROCESSABLE_ENTITY,
            Html("<p>Select an account.</p>"),
        )
            .into_response();
    };
    let outcome = hub.transact(|tx| {
        let account = tx.world.account_by_login(login)?;
        let id = account.id;
        if account.admin != user {
            let is_member = account.members.contains(&user);
            return is_member.then(|| {
                request_installation(tx, id, user);
                json!({"setup_action": "request"})
            });
        }
        let (installation, created) = install(tx, id, user, None, selection(&fields));
        let action = if created { "install" } else { "update" };
        Some(json!({"installation_id": installation, "setup_action": action}))
    });
    match outcome {
        None => (StatusCode::NOT_FOUND, Html("<p>Account not found.</p>")).into_response(),
        Some(result) => {
            finish_installation(&hub, user, result, fields.get("state").map(String::as_str))
        }
    }
}

/// Repositories in `repository_ids` (comma-separated); all without it.
fn selection(fields: &Fields) -> Selection {
    let ids: BTreeSet<Id> = fields
        .get("repository_ids")
        .map(|ids| {
            ids.split(',')
                .filter_map(|id| id.trim().parse().ok())
                .collect()
        })
        .unwrap_or_default();
    if ids.is_empty() {
        Selection::All
    } else {
        Selection::Selected(ids)
    }
}

/// Redirects to the setup URL after an installation.
///
/// If the app requests authorization during installation, it redirects to the callback with a
/// code.
fn finish_installation(hub: &Hub, user: Id, mut result: Value, state: Option<&str>) -> Response {
    let settings = hub.settings().clone();
    if !settings.oauth_on_install || result["setup_action"] == "request" {
        return redirect_back(&settings.setup_url, state, &result);
    }
    let target = settings.callback_urls.first().cloned().unwrap_or_default();
    let code = hub
        .tokens
        .issue_code(user, None, None, hub.core.clock.seconds());
    result["code"] = json!(code);
    redirect_back(&target, state, &result)
}
