//! The app, its installations and its hook as JSON.

use serde_json::{Value, json};

use super::{node_id, optional_user, person, user};
use crate::clock::iso;
use crate::github::settings::Settings;
use crate::github::world::{Id, Installation, PersonKind, Repository, World};

/// Events to which the app subscribes; lifecycle events need no subscription.
pub(crate) const EVENTS: [&str; 21] = [
    "commit_comment",
    "create",
    "delete",
    "deployment_status",
    "discussion",
    "discussion_comment",
    "fork",
    "issue_comment",
    "issues",
    "member",
    "milestone",
    "public",
    "pull_request",
    "pull_request_review",
    "pull_request_review_comment",
    "push",
    "release",
    "repository",
    "star",
    "watch",
    "workflow_run",
];

/// The app in `GET /app`.
pub(crate) fn app(world: &World, events: &[String]) -> Value {
    let page = format!("{}/apps/{}", world.urls.web, world.app_slug);
    let owner = person(9_001, "app-owner", PersonKind::Organization, &world.urls);
    json!({
        "id": world.app_id, "slug": world.app_slug, "client_id": world.client_id,
        "node_id": node_id("App", world.app_id), "owner": owner, "name": world.app_slug,
        "description": "Turns activity into Signals", "external_url": world.urls.web,
        "html_url": page, "created_at": "2026-01-05T09:00:00Z",
        "updated_at": "2026-01-05T09:00:00Z", "permissions": world.permissions,
        "events": events, "installations_count": world.installations.len(),
    })
}

/// The app's webhook in `GET /app/hook/config`.
pub(crate) fn hook_config(settings: &Settings) -> Value {
    let mut config = json!({ "content_type": "json", "insecure_ssl": "0" });
    if settings.form_webhooks {
        config["content_type"] = json!("form");
    }
    if !settings.webhook_url.is_empty() {
        config["url"] = json!(settings.webhook_url);
    }
    if !settings.webhook_secret.is_empty() {
        config["secret"] = json!("********");
    }
    config
}

/// An installation in REST responses.
pub(crate) fn installation(world: &World, found: &Installation) -> Value {
    let kind = world
        .people
        .get(&found.account)
        .map_or("User", |person| person.kind.name());
    let base = format!("{}/app/installations/{}", world.urls.api, found.id);
    let page = if kind == "Organization" {
        format!(
            "{}/organizations/{}/settings/installations/{}",
            world.urls.web,
            world.login(found.account),
            found.id
        )
    } else {
        format!("{}/settings/installations/{}", world.urls.web, found.id)
    };
    json!({
        "id": found.id, "account": user(world, found.account),
        "repository_selection": found.selection_name(),
        "access_tokens_url": format!("{base}/access_tokens"),
        "repositories_url": format!("{}/installation/repositories", world.urls.api),
        "html_url": page, "app_id": world.app_id, "app_slug": world.app_slug,
        "client_id": world.client_id,
        "target_id": found.account, "target_type": kind,
        "permissions": found.permissions, "events": EVENTS,
        "created_at": iso(found.created_at), "updated_at": iso(found.updated_at),
        "single_file_name": null, "has_multiple_single_files": false, "single_file_paths": [],
        "suspended_by": optional_user(world, found.suspended_by),
        "suspended_at": found.suspended_at.map(iso),
    })
}

/// An installation in its webhooks, some of which have dates as `numbers`.
pub(crate) fn installation_in_webhook(world: &World, found: &Installation, numbers: bool) -> Value {
    let mut object = installation(world, found);
    if numbers {
        object["created_at"] = json!(found.created_at);
        object["updated_at"] = json!(found.updated_at);
    }
    if let Some(object) = object.as_object_mut() {
        object.remove("client_id");
    }
    object
}

/// A repository in installation webhooks.
pub(crate) fn short_repository(world: &World, found: &Repository) -> Value {
    json!({
        "id": found.id, "node_id": node_id("Repository", found.id), "name": found.name,
        "full_name": world.full_name(found), "private": found.private,
    })
}

/// The app's hook in a `ping` event.
pub(crate) fn hook(world: &World, hook_id: Id, url: &str) -> Value {
    json!({
        "type": "App", "id": hook_id, "name": "web", "active": true, "events": EVENTS,
        "config": {"content_type": "json", "insecure_ssl": "0", "secret": "********", "url": url},
        "updated_at": "2026-01-05T09:00:00Z", "created_at": "2026-01-05T09:00:00Z",
        "app_id": world.app_id, "url": format!("{}/app/hook/config", world.urls.api),
        "ping_url": format!("{}/app/hook/pings", world.urls.api),
        "deliveries_url": format!("{}/app/hook/deliveries", world.urls.api),
    })
}
