//! REST API of apps: the app, its installations, tokens and deliveries.
//!
//! It also serves the installations and repositories that a user can access through the app.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, Uri};
use axum::routing::{delete, get, post, put};
use axum::{Extension, Router};
use bytes::Bytes;
use serde_json::{Value, json};

use super::actions::{suspend, uninstall};
use super::caller::Caller;
use super::reply::Reply;
use super::rest::Paging;
use super::webhooks::Listing;
use super::world::{Id, Installation, PersonKind, World};
use super::{GitHub, installation_tokens, oauth, render};

type Service = Arc<GitHub>;

pub(crate) fn router() -> Router<Service> {
    Router::new()
        .route("/app", get(app))
        .route("/app/installations", get(installations))
        .route("/app/installations/{id}", get(installation).delete(remove))
        .route(
            "/app/installations/{id}/access_tokens",
            post(installation_tokens::create),
        )
        .route(
            "/app/installations/{id}/suspended",
            put(suspend_installation).delete(unsuspend_installation),
        )
        .route("/app/hook/config", get(hook_config))
        .route("/app/hook/deliveries", get(deliveries))
        .route("/app/hook/deliveries/{id}", get(delivery))
        .route("/app/hook/deliveries/{id}/attempts", post(redeliver))
        .route("/installation/token", delete(installation_tokens::revoke))
        .route("/installation/repositories", get(repositories))
        .route("/user", get(user))
        .route("/user/installations", get(user_installations))
        .route("/user/memberships/orgs/{org}", get(membership))
        .route(
            "/user/installations/{id}/repositories",
            get(user_repositories),
        )
        .merge(oauth::applications())
}

/// Rejects every caller except the app.
pub(super) fn require_app(caller: &Caller) -> Result<(), Reply> {
    match caller {
        Caller::App => Ok(()),
        Caller::RejectedJwt(error) if error.message() == "Integration not found" => {
            Err(Reply::error(StatusCode::NOT_FOUND, error.message()))
        }
        Caller::RejectedJwt(error) => Err(Reply::error(StatusCode::UNAUTHORIZED, error.message())),
        _ => Err(Reply::error(
            StatusCode::UNAUTHORIZED,
            "A JSON web token could not be decoded",
        )),
    }
}

/// Returns the user of a user token, and rejects other callers.
fn require_user(caller: &Caller) -> Result<Id, Reply> {
    match caller {
        Caller::User(id) => Ok(*id),
        Caller::Installation { .. } => Err(Reply::error(
            StatusCode::FORBIDDEN,
            "Resource not accessible by integration",
        )),
        _ => Err(Reply::error(
            StatusCode::UNAUTHORIZED,
            "Requires authentication",
        )),
    }
}

async fn app(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
) -> Result<Reply, Reply> {
    require_app(&caller)?;
    let events = service.settings().events.clone();
    Ok(Reply::ok(&render::app(&service.world(), &events)))
}

/// The app's webhook, with the secret hidden.
async fn hook_config(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
) -> Result<Reply, Reply> {
    require_app(&caller)?;
    Ok(Reply::ok(&render::hook_config(&service.settings())))
}

async fn installations(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Reply, Reply> {
    require_app(&caller)?;
    let world = service.world();
    let all: Vec<&Installation> = world.installations.values().collect();
    let paging = Paging::new(&service.urls.api, "/app/installations", &uri);
    Ok(page(&paging, &all, None, |found| {
        render::installation(&world, found)
    }))
}

/// Page of a list whose rows are rendered on demand.
fn page<T>(paging: &Paging, all: &[T], wrap: Option<&str>, render: impl Fn(&T) -> Value) -> Reply {
    let rows: Vec<Bytes> = all
        .iter()
        .skip(paging.offset())
        .take(paging.per_page)
        .map(|item| Bytes::from(render(item).to_string()))
        .collect();
    paging.link(
        Reply::rows(&rows, wrap.map(|name| (name, all.len()))),
        all.len(),
    )
}

async fn installation(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<Id>,
) -> Result<Reply, Reply> {
    require_app(&caller)?;
    let world = service.world();
    let found = world.installations.get(&id).ok_or_else(Reply::not_found)?;
    Ok(Reply::ok(&render::installation(&world, found)))
}

async fn remove(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<Id>,
) -> Result<Reply, Reply> {
    require_app(&caller)?;
    service
        .transact(|tx| uninstall(tx, id))
        .map_err(|_| Reply::not_found())?;
    Ok(Reply::empty())
}

async fn suspend_installation(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<Id>,
) -> Result<Reply, Reply> {
    set_suspended(&service, &caller, id, true)
}

async fn unsuspend_installation(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<Id>,
) -> Result<Reply, Reply> {
    set_suspended(&service, &caller, id, false)
}

fn set_suspended(
    service: &Service,
    caller: &Caller,
    id: Id,
    suspended: bool,
) -> Result<Reply, Reply> {
    require_app(caller)?;
    let current = service
        .world()
        .installations
        .get(&id)
        .map(|found| found.suspended_at.is_some());
    match current {
        None => Err(Reply::not_found()),
        Some(current) if current == suspended => Ok(Reply::empty()),
        Some(_) => {
            let result = service.transact(|tx| suspend(tx, id, suspended));
            result
                .map(|()| Reply::empty())
                .map_err(|_| Reply::not_found())
        }
    }
}

/// Installation of the caller's token; an error if it is suspended.
fn active_installation<'a>(world: &'a World, caller: &Caller) -> Result<&'a Installation, Reply> {
    let Caller::Installation { grant, .. } = caller else {
        let status = StatusCode::FORBIDDEN;
        return Err(Reply::error(
            status,
            "You must authenticate with an installation access token in order to list repositories for an installation.",
        ));
    };
    let found = world
        .installations
        .get(&grant.installation)
        .ok_or_else(Reply::bad_credentials)?;
    if found.suspended_at.is_some() {
        return Err(Reply::suspended());
    }
    Ok(found)
}

async fn repositories(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Reply, Reply> {
    let world = service.world();
    let found = active_installation(&world, &caller)?;
    let mut ids = world.repositories_of(found);
    ids.retain(|id| {
        world
            .repositories
            .get(id)
            .is_some_and(|repository| caller.can_see(&world, repository))
    });
    let paging = Paging::new(&service.urls.api, "/installation/repositories", &uri);
    Ok(page(&paging, &ids, Some("repositories"), |id| {
        world
            .repositories
            .get(id)
            .map_or(Value::Null, |found| render::repository(&world, found))
    }))
}

async fn user(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
) -> Result<Reply, Reply> {
    let id = require_user(&caller)?;
    let world = service.world();
    Ok(Reply::ok(&public_user(&world, id)))
}

/// A user's profile.
pub(crate) fn public_user(world: &World, id: Id) -> Value {
    let mut object = render::user(world, id);
    if let Some(object) = object.as_object_mut() {
        object.extend(
            json!({
                "name": null, "company": null, "blog": "", "location": null, "email": null,
                "hireable": null, "bio": null, "twitter_username": null, "public_repos": 0,
                "public_gists": 0, "followers": 0, "following": 0, "user_view_type": "public",
                "created_at": "2020-01-05T09:00:00Z", "updated_at": "2026-01-05T09:00:00Z",
            })
            .as_object()
            .cloned()
            .unwrap_or_default(),
        );
    }
    object
}

async fn user_installations(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Reply, Reply> {
    let user = require_user(&caller)?;
    let world = service.world();
    let all: Vec<&Installation> = world
        .installations
        .values()
        .filter(|found| can_access(&world, user, found))
        .collect();
    let paging = Paging::new(&service.urls.api, "/user/installations", &uri);
    Ok(page(&paging, &all, Some("installations"), |found| {
        render::installation(&world, found)
    }))
}

fn can_access(world: &World, user: Id, found: &Installation) -> bool {
    world
        .accounts
        .get(&found.account)
        .is_some_and(|account| account.members.contains(&user))
}

/// The user's membership of an organization.
///
/// It requires an installation in the organization with *Members: read*.
async fn membership(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    Path(login): Path<String>,
) -> Result<Reply, Reply> {
    let user = require_user(&caller)?;
    let world = service.world();
    let account = world
        .account_by_login(&login)
        .filter(|account| account.kind == PersonKind::Organization)
        .ok_or_else(Reply::not_found)?;
    let permitted = world
        .installation_for(account.id)
        .is_some_and(|found| found.has_permission("members"));
    if !permitted {
        return Err(Reply::not_permitted("members"));
    }
    if !account.members.contains(&user) {
        return Err(Reply::not_found());
    }
    let organization =
        render::organization_object(&world, account.id).ok_or_else(Reply::not_found)?;
    let role = if account.admin == user {
        "admin"
    } else {
        "member"
    };
    Ok(Reply::ok(&json!({
        "url": format!("{}/orgs/{login}/memberships/{}", service.urls.api, world.login(user)),
        "state": "active", "role": role,
        "organization_url": organization["url"],
        "organization": organization, "user": render::user(&world, user),
    })))
}

async fn user_repositories(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<Id>,
    uri: Uri,
) -> Result<Reply, Reply> {
    let user = require_user(&caller)?;
    let world = service.world();
    let found = world
        .installations
        .get(&id)
        .filter(|found| can_access(&world, user, found));
    let ids = world.repositories_of(found.ok_or_else(Reply::not_found)?);
    let paging = Paging::new(
        &service.urls.api,
        &format!("/user/installations/{id}/repositories"),
        &uri,
    );
    Ok(page(&paging, &ids, Some("repositories"), |id| {
        world
            .repositories
            .get(id)
            .map_or(Value::Null, |found| render::repository(&world, found))
    }))
}

async fn deliveries(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Reply, Reply> {
    require_app(&caller)?;
    let per_page = query
        .get("per_page")
        .and_then(|text| text.parse().ok())
        .unwrap_or(30);
    let limit = usize::clamp(per_page, 1, 100);
    let before = match query.get("cursor") {
        None => None,
        Some(cursor) => {
            let id = cursor.strip_prefix("v1_").and_then(|id| id.parse().ok());
            Some(id.ok_or_else(|| Reply::error(StatusCode::BAD_REQUEST, "Invalid cursor"))?)
        }
    };
    let succeeded = match query.get("status").map(String::as_str) {
        None => None,
        Some("success") => Some(true),
        Some("failure") => Some(false),
        Some(_) => return Err(Reply::unprocessable("Validation Failed")),
    };
    let now = service.core.clock.seconds();
    let (rows, next) = service.webhooks.log().list(
        &Listing {
            before,
            limit,
            succeeded,
        },
        now,
    );
    let reply = Reply::ok(&json!(rows));
    let Some(next) = next else { return Ok(reply) };
    let status = query
        .get("status")
        .map(|status| format!("&status={status}"))
        .unwrap_or_default();
    let url = format!(
        "{}/app/hook/deliveries?per_page={limit}{status}&cursor=v1_{next}",
        service.urls.api
    );
    Ok(reply.with("link", &format!("<{url}>; rel=\"next\"")))
}

async fn delivery(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<u64>,
) -> Result<Reply, Reply> {
    require_app(&caller)?;
    let found = service
        .webhooks
        .log()
        .get(id)
        .ok_or_else(Reply::not_found)?;
    Ok(Reply::ok(&found.detail()))
}

async fn redeliver(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<u64>,
) -> Result<Reply, Reply> {
    require_app(&caller)?;
    if service.webhooks.log().get(id).is_none() {
        return Err(Reply::not_found());
    }
    if service.webhooks.redeliver(id) {
        Ok(Reply::json(StatusCode::ACCEPTED, &json!({})))
    } else {
        Err(Reply::unprocessable(
            "The payload of this delivery is no longer available.",
        ))
    }
}
