//! REST API of repositories and their contents.
//!
//! It has GitHub's lists, filters, orders and page links, for callers that can see the
//! repository. A repository is found by its name and by its id; previous names redirect with 301.
//! The ledger records which facts a response has shown.

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

type Service = Arc<GitHub>;

pub(crate) fn router() -> Router<Service> {
    Router::new()
        .route("/rate_limit", get(rate_limit))
        .route("/search/issues", get(search::issues))
        .route("/users/{login}", get(user))
        .route("/repos/{owner}/{name}", get(by_name))
        .route("/repos/{owner}/{name}/{*rest}", get(by_name_with))
        .route("/repositories/{id}", get(by_id))
        .route("/repositories/{id}/{*rest}", get(by_id_with))
}

/// Route pattern of a path, for statistics.
pub(crate) fn route_pattern(path: &str) -> String {
    let mut parts: Vec<&str> = path
        .strip_prefix("/api/v3")
        .unwrap_or(path)
        .split('/')
        .collect();
    let is_by_name = parts.get(1) == Some(&"repos");
    for (at, part) in parts.iter_mut().enumerate() {
        if is_by_name && at == 2 {
            *part = "{owner}";
        } else if is_by_name && at == 3 {
            *part = "{repo}";
        } else if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) {
            *part = "{number}";
        }
    }
    parts.join("/")
}

/// A request for an object or list of a repository.
pub(crate) struct ResourceRequest<'a> {
    pub(crate) service: &'a GitHub,
    pub(crate) world: &'a World,
    pub(crate) repository: &'a Repository,
    pub(crate) caller: &'a Caller,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) paging: Paging,
}

async fn rate_limit(State(service): State<Service>, Extension(caller): Extension<Caller>) -> Reply {
    let settings = service.settings().clone();
    let world = service.world();
    let [core, search] = [Resource::Core, Resource::Search].map(|resource| {
        let allowance = caller.allowance(&world, resource, &settings);
        let quota = service
            .limits
            .current(allowance, service.core.clock.seconds());
        json!({
            "limit": quota.limit, "used": quota.used, "remaining": quota.remaining(),
            "reset": quota.resets_at - service.core.clock.offset(),
        })
    });
    Reply::ok(&json!({"resources": {"core": core, "search": search}, "rate": core}))
}

async fn user(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    Path(login): Path<String>,
) -> Result<Reply, Reply> {
    require_data_access(&caller)?;
    let world = service.world();
    let id = world.person_id(&login).ok_or_else(Reply::not_found)?;
    Ok(Reply::ok(&public_user(&world, id)))
}

/// Rejects callers without access to data.
fn require_data_access(caller: &Caller) -> Result<(), Reply> {
    match caller {
        Caller::App | Caller::RejectedJwt(_) => Err(Reply::error(
            StatusCode::UNAUTHORIZED,
            "Requires authentication",
        )),
        Caller::Invalid | Caller::Client(false) => Err(Reply::bad_credentials()),
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
    state: State<Service>,
    caller: Extension<Caller>,
    Path((owner, name)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Reply, Reply> {
    respond_by_name(&state, &caller, (&owner, &name), "", &uri, &headers)
}

async fn by_name_with(
    state: State<Service>,
    caller: Extension<Caller>,
    Path((owner, name, rest)): Path<(String, String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Reply, Reply> {
    respond_by_name(&state, &caller, (&owner, &name), &rest, &uri, &headers)
}

async fn by_id(
    state: State<Service>,
    caller: Extension<Caller>,
    Path(id): Path<Id>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Reply, Reply> {
    respond(&state, &state.world(), &caller, id, "", &uri, &headers)
}

async fn by_id_with(
    state: State<Service>,
    caller: Extension<Caller>,
    Path((id, rest)): Path<(Id, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Reply, Reply> {
    respond(&state, &state.world(), &caller, id, &rest, &uri, &headers)
}

fn respond_by_name(
    service: &Service,
    caller: &Caller,
    (owner, name): (&str, &str),
    rest: &str,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Reply, Reply> {
    require_data_access(caller)?;
    let world = service.world();
    let id = world
        .repository_id(owner, name)
        .ok_or_else(Reply::not_found)?;
    let found = world.repositories.get(&id).ok_or_else(Reply::not_found)?;
    if !caller.can_see(&world, found) {
        return Err(Reply::not_found());
    }
    if !world.is_current_name(id, owner, name) {
        return Ok(Reply::moved(&canonical_url(service, id, rest, uri)));
    }
    respond(service, &world, caller, id, rest, uri, headers)
}

/// URL by the repository's id, which does not change.
fn canonical_url(service: &GitHub, id: Id, rest: &str, uri: &Uri) -> String {
    let rest = if rest.is_empty() {
        String::new()
    } else {
        format!("/{rest}")
    };
    let query = uri
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    format!("{}/repositories/{id}{rest}{query}", service.urls.api)
}

fn respond(
    service: &Service,
    world: &World,
    caller: &Caller,
    id: Id,
    rest: &str,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Reply, Reply> {
    require_data_access(caller)?;
    let repository = world.repositories.get(&id).ok_or_else(Reply::not_found)?;
    if !caller.can_see(world, repository) {
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
    let paging = Paging::new(&service.urls.api, &base, uri);
    let request = ResourceRequest {
        service,
        world,
        repository,
        caller,
        headers,
        paging,
    };
    let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty()).collect();
    request.dispatch(&parts)
}

#[cfg(test)]
mod tests {
    use super::route_pattern;

    #[test]
    fn route_pattern_replaces_names_and_numbers() {
        assert_eq!(
            route_pattern("/api/v3/repos/team-1/service-2/pulls/7/reviews"),
            "/repos/{owner}/{repo}/pulls/{number}/reviews"
        );
        assert_eq!(
            route_pattern("/repositories/24/issues"),
            "/repositories/{number}/issues"
        );
    }
}
