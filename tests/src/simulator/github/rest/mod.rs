//! The REST API of repositories and what is in them.
//!
//! Promises the lists, filters, orders and page links of GitHub, for clients
//! that may see the repository, under its name and under its id; former names
//! answer 301. Noted in the ledger: which facts an answer has shown.

mod code;
mod lists;
mod paging;
mod search;

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::routing::get;
use axum::{Extension, Router};
use serde_json::json;

use super::GitHub;
use super::apps::public_user;
use super::caller::Caller;
use super::limits::Resource;
use super::reply::Reply;
use super::world::{Id, Repository, World};

pub(crate) use paging::Paging;

type Hub = Arc<GitHub>;

pub(crate) fn router() -> Router<Hub> {
    Router::new()
        .route("/rate_limit", get(rate_limit))
        .route("/search/issues", get(search::issues))
        .route("/users/{login}", get(user))
        .route("/repos/{owner}/{name}", get(by_name))
        .route("/repos/{owner}/{name}/{*rest}", get(by_name_with))
        .route("/repositories/{id}", get(by_id))
        .route("/repositories/{id}/{*rest}", get(by_id_with))
}

/// The route of a path that only the dispatch below knows, for statistics.
pub(crate) fn pattern(path: &str) -> String {
    let mut parts: Vec<&str> = path
        .strip_prefix("/api/v3")
        .unwrap_or(path)
        .split('/')
        .collect();
    let named = parts.get(1) == Some(&"repos");
    for (at, part) in parts.iter_mut().enumerate() {
        if named && at == 2 {
            *part = "{owner}";
        } else if named && at == 3 {
            *part = "{repo}";
        } else if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) {
            *part = "{number}";
        }
    }
    parts.join("/")
}

/// A request for something in a repository.
pub(crate) struct Ask<'a> {
    pub(crate) hub: &'a GitHub,
    pub(crate) world: &'a World,
    pub(crate) repository: &'a Repository,
    pub(crate) caller: &'a Caller,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) paging: Paging,
}

async fn rate_limit(State(hub): State<Hub>, Extension(caller): Extension<Caller>) -> Reply {
    let settings = hub.settings().clone();
    let world = hub.world();
    let [core, search] = [Resource::Core, Resource::Search].map(|resource| {
        let of = caller.allowance(&world, resource, &settings);
        let quota = hub.limits.look(of, hub.core.clock.seconds());
        json!({
            "limit": quota.limit, "used": quota.used, "remaining": quota.remaining(),
            "reset": quota.resets_at - hub.core.clock.offset(),
        })
    });
    Reply::ok(&json!({"resources": {"core": core, "search": search}, "rate": core}))
}

async fn user(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Path(login): Path<String>,
) -> Result<Reply, Reply> {
    signed_in(&caller)?;
    let world = hub.world();
    let id = world.person_id(&login).ok_or_else(Reply::not_found)?;
    Ok(Reply::ok(&public_user(&world, id)))
}

/// Refuses what is not a token for data.
fn signed_in(caller: &Caller) -> Result<(), Reply> {
    match caller {
        Caller::App | Caller::RefusedJwt(_) => Err(Reply::error(
            StatusCode::UNAUTHORIZED,
            "Requires authentication",
        )),
        Caller::Bad | Caller::Client(false) => Err(Reply::bad_credentials()),
        _ => Ok(()),
    }
}

/// Whether the caller is an installation that is suspended.
fn suspended(caller: &Caller, world: &World) -> bool {
    let Caller::Installation { grant, .. } = caller else {
        return false;
    };
    let found = world.installations.get(&grant.installation);
    found.is_some_and(|found| found.suspended_at.is_some())
}

async fn by_name(
    state: State<Hub>,
    caller: Extension<Caller>,
    Path((owner, name)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Reply, Reply> {
    named(&state, &caller, (&owner, &name), "", &uri, &headers)
}

async fn by_name_with(
    state: State<Hub>,
    caller: Extension<Caller>,
    Path((owner, name, rest)): Path<(String, String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Reply, Reply> {
    named(&state, &caller, (&owner, &name), &rest, &uri, &headers)
}

async fn by_id(
    state: State<Hub>,
    caller: Extension<Caller>,
    Path(id): Path<Id>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Reply, Reply> {
    answer(&state, &state.world(), &caller, id, "", &uri, &headers)
}

async fn by_id_with(
    state: State<Hub>,
    caller: Extension<Caller>,
    Path((id, rest)): Path<(Id, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Reply, Reply> {
    answer(&state, &state.world(), &caller, id, &rest, &uri, &headers)
}

fn named(
    hub: &Hub,
    caller: &Caller,
    (owner, name): (&str, &str),
    rest: &str,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Reply, Reply> {
    signed_in(caller)?;
    let world = hub.world();
    let id = world
        .repository_id(owner, name)
        .ok_or_else(Reply::not_found)?;
    let found = world.repositories.get(&id).ok_or_else(Reply::not_found)?;
    if !caller.sees(&world, found) {
        return Err(Reply::not_found());
    }
    if !world.is_current_name(id, owner, name) {
        return Ok(Reply::moved(&place(hub, id, rest, uri)));
    }
    answer(hub, &world, caller, id, rest, uri, headers)
}

/// Where a repository's things are whatever its name.
fn place(hub: &GitHub, id: Id, rest: &str, uri: &Uri) -> String {
    let rest = if rest.is_empty() {
        String::new()
    } else {
        format!("/{rest}")
    };
    let query = uri
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    format!("{}/repositories/{id}{rest}{query}", hub.urls.api)
}

fn answer(
    hub: &Hub,
    world: &World,
    caller: &Caller,
    id: Id,
    rest: &str,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Reply, Reply> {
    signed_in(caller)?;
    let repository = world.repositories.get(&id).ok_or_else(Reply::not_found)?;
    if !caller.sees(world, repository) {
        return Err(Reply::not_found());
    }
    if suspended(caller, world) {
        return Err(Reply::suspended());
    }
    let base = if rest.is_empty() {
        format!("/repositories/{id}")
    } else {
        format!("/repositories/{id}/{rest}")
    };
    let paging = Paging::new(&hub.urls.api, &base, uri);
    let ask = Ask {
        hub,
        world,
        repository,
        caller,
        headers,
        paging,
    };
    let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty()).collect();
    ask.dispatch(&parts)
}

#[cfg(test)]
mod tests {
    use super::pattern;

    #[test]
    fn statistics_count_routes_not_paths() {
        assert_eq!(
            pattern("/api/v3/repos/team-1/service-2/pulls/7/reviews"),
            "/repos/{owner}/{repo}/pulls/{number}/reviews"
        );
        assert_eq!(
            pattern("/repositories/24/issues"),
            "/repositories/{number}/issues"
        );
    }
}
