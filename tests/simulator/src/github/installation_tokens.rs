//! Endpoints for installation tokens: issued to the app, revoked by the token itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use bytes::Bytes;
use serde_json::{Value, json};

use super::apps::require_app;
use super::caller::Caller;
use super::reply::Reply;
use super::tokens::InstallationToken;
use super::world::{Id, Installation, World};
use super::{GitHub, render};
use crate::clock::iso;

type Service = Arc<GitHub>;

pub(super) async fn create(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<Id>,
    body: Bytes,
) -> Result<Reply, Reply> {
    require_app(&caller)?;
    let body: Value = if body.is_empty() {
        json!({})
    } else {
        serde_json::from_slice(&body)
            .map_err(|_| Reply::error(StatusCode::BAD_REQUEST, "Problems parsing JSON"))?
    };
    let settings = service.settings().clone();
    let world = service.world();
    let found = world.installations.get(&id).ok_or_else(Reply::not_found)?;
    if found.suspended_at.is_some() {
        return Err(Reply::suspended());
    }
    let repositories = requested_repositories(&world, found, &body)?;
    let permissions = requested_permissions(found, &body)?;
    let expires_at = service.core.clock.seconds() + settings.installation_token_seconds;
    let grant = InstallationToken {
        installation: id,
        repositories: repositories.clone(),
        permissions: permissions.clone(),
        expires_at,
    };
    let token = service
        .tokens
        .issue_installation(grant, service.app.id, settings.long_tokens);
    service.core.stats.count("github.installation_tokens", 1);
    let mut response = json!({
        "token": token, "expires_at": iso(expires_at), "permissions": permissions,
        "repository_selection": if repositories.is_some() { "selected" } else { found.selection_name() },
    });
    if let Some(ids) = repositories {
        let rendered: Vec<Value> = ids
            .iter()
            .filter_map(|id| world.repositories.get(id))
            .map(|repository| render::repository(&world, repository))
            .collect();
        response["repositories"] = json!(rendered);
    }
    Ok(Reply::json(StatusCode::CREATED, &response))
}

/// Repositories to which a token is restricted; the installation must cover each of them.
fn requested_repositories(
    world: &World,
    found: &Installation,
    body: &Value,
) -> Result<Option<BTreeSet<Id>>, Reply> {
    let not_accessible = || {
        Reply::unprocessable(
            "There is at least one repository that does not exist or is not accessible to the parent installation.",
        )
    };
    let owner = world.login(found.account);
    let by_id = body["repository_ids"]
        .as_array()
        .into_iter()
        .flatten()
        .map(Value::as_u64);
    let by_name = body["repositories"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|name| {
            name.as_str()
                .and_then(|name| world.repository_id(owner, name))
        });
    let mut ids = BTreeSet::new();
    for id in by_id.chain(by_name) {
        let id = id.ok_or_else(not_accessible)?;
        let belongs = world
            .repositories
            .get(&id)
            .is_some_and(|repository| repository.owner == found.account);
        if !belongs || !found.covers(id) {
            return Err(not_accessible());
        }
        ids.insert(id);
    }
    Ok((!ids.is_empty()).then_some(ids))
}

/// Permissions of a token; none of them may exceed those of the installation.
fn requested_permissions(
    found: &Installation,
    body: &Value,
) -> Result<BTreeMap<String, String>, Reply> {
    let Some(requested) = body["permissions"]
        .as_object()
        .filter(|permissions| !permissions.is_empty())
    else {
        return Ok(found.permissions.clone());
    };
    let mut permissions = BTreeMap::new();
    for (name, level) in requested {
        let granted = found.permissions.get(name).map(String::as_str);
        let level = level.as_str().unwrap_or_default();
        if granted.is_none() || (level != "read" && granted != Some(level)) {
            return Err(Reply::unprocessable(
                "The permissions requested are not granted to this installation.",
            ));
        }
        permissions.insert(name.clone(), level.to_owned());
    }
    permissions.insert("metadata".to_owned(), "read".to_owned());
    Ok(permissions)
}

pub(super) async fn revoke(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
) -> Result<Reply, Reply> {
    let Caller::Installation { token, .. } = caller else {
        return Err(Reply::error(
            StatusCode::UNAUTHORIZED,
            "Requires authentication",
        ));
    };
    service.tokens.revoke_installation(&token);
    Ok(Reply::empty())
}
