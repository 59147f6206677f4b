//! Web pages: sign-in and installation of the app.
//!
//! `/apps/{slug}` and GitHub Enterprise's `/github-apps/{slug}` serve the same pages.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Form, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::GitHub;
use super::actions::{install, request_installation};
use super::oauth::redirect_back;
use super::world::{Id, PersonKind, Selection};
use crate::oauth::{self, escape};

type Service = Arc<GitHub>;
type Fields = HashMap<String, String>;

pub(crate) fn router() -> Router<Service> {
    let installation = get(new_installation).post(install_from_form);
    Router::new()
        .route("/session", post(sign_in))
        .route("/apps/{slug}/installations/new", installation.clone())
        .route("/github-apps/{slug}/installations/new", installation)
}

/// User of the browser session.
pub(crate) fn session_user(service: &GitHub, headers: &HeaderMap) -> Option<Id> {
    let login = oauth::session(headers)?;
    let world = service.world();
    let id = world.person_id(&login)?;
    let person = world.people.get(&id)?;
    (person.kind == PersonKind::User && !person.ghost).then_some(id)
}

/// Sign-in form, which returns to the given page.
pub(crate) fn login_page(return_to: &str) -> Html<String> {
    Html(format!(
        "<!doctype html><title>Sign in</title><h1>Sign in to the simulated GitHub</h1>{}",
        oauth::sign_in_form("/session", return_to, "Login")
    ))
}

async fn sign_in(State(service): State<Service>, Form(fields): Form<Fields>) -> Response {
    let login = fields.get("login").map(String::as_str).unwrap_or_default();
    let return_to = fields
        .get("return_to")
        .filter(|path| path.starts_with('/') && !path.starts_with("//"));
    if service.world().person_id(login).is_none() {
        return (
            StatusCode::UNPROCESSABLE_ENTITY,
            Html("<p>Incorrect username.</p>"),
        )
            .into_response();
    }
    oauth::start_session(login, return_to)
}

async fn new_installation(
    State(service): State<Service>,
    Path(slug): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    Query(fields): Query<Fields>,
) -> Response {
    if slug != service.app.slug {
        return not_found_page();
    }
    let Some(user) = session_user(&service, &headers) else {
        return login_page(&uri.to_string()).into_response();
    };
    let state = fields.get("state").map(String::as_str).unwrap_or_default();
    let world = service.world();
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
    State(service): State<Service>,
    Path(slug): Path<String>,
    headers: HeaderMap,
    Form(fields): Form<Fields>,
) -> Response {
    let Some(user) = session_user(&service, &headers) else {
        return (StatusCode::UNAUTHORIZED, Html("<p>Sign in first.</p>")).into_response();
    };
    if slug != service.app.slug {
        return not_found_page();
    }
    let Some(login) = fields.get("account") else {
        return (
            StatusCode::UNPROCESSABLE_ENTITY,
            Html("<p>Select an account.</p>"),
        )
            .into_response();
    };
    let outcome = service.transact(|tx| {
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
        Some(result) => finish_installation(
            &service,
            user,
            result,
            fields.get("state").map(String::as_str),
        ),
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
fn finish_installation(
    service: &Service,
    user: Id,
    mut result: Value,
    state: Option<&str>,
) -> Response {
    let settings = service.settings().clone();
    if !settings.oauth_on_install || result["setup_action"] == "request" {
        return redirect_back(&settings.setup_url, state, &result);
    }
    let target = settings.callback_urls.first().cloned().unwrap_or_default();
    let code = service
        .tokens
        .issue_code(user, None, None, service.core.clock.seconds());
    result["code"] = json!(code);
    redirect_back(&target, state, &result)
}
