//! JSON of the world's objects for webhooks and REST responses.
//!
//! Objects are complete enough for GitHub's published schemas. Rendering does not change the
//! world. Functions for only one of webhooks and REST say so.

mod app;
mod code;
mod repository;
mod thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

pub(crate) use app::{
    EVENTS, app, hook, hook_config, installation, installation_in_webhook, short_repository,
};
pub(crate) use code::{
    commit, commit_comment, commit_in_push, deployment, deployment_status, release, run, workflow,
};
pub(crate) use repository::{
    discussion, discussion_comment, full_repository, milestone, organization, organization_object,
    repository, team,
};
pub(crate) use thread::{
    comment, issue, issue_row, pull, pull_in_review, pull_row, review, review_comment, review_row,
};

use super::world::{Id, PersonKind, Repository, Urls, World};

/// Global id in GitHub's older format: base64 of `0<length>:<Type><id>`.
pub(crate) fn node_id(kind: &str, id: Id) -> String {
    STANDARD.encode(format!("{:03}:{kind}{id}", kind.len()))
}

/// A simple user, bot or organization.
pub(crate) fn person(id: Id, login: &str, kind: PersonKind, urls: &Urls) -> Value {
    let name = login.replace('[', "%5B").replace(']', "%5D");
    let api = format!("{}/users/{name}", urls.api);
    let page = match kind {
        PersonKind::Bot => format!("{}/apps/{}", urls.web, login.trim_end_matches("[bot]")),
        _ => format!("{}/{name}", urls.web),
    };
    json!({
        "login": login,
        "id": id,
        "node_id": node_id(kind.name(), id),
        "avatar_url": format!("{}/avatars/u/{id}?v=4", urls.web),
        "gravatar_id": "",
        "url": api,
        "html_url": page,
        "followers_url": format!("{api}/followers"),
        "following_url": format!("{api}/following{{/other_user}}"),
        "gists_url": format!("{api}/gists{{/gist_id}}"),
        "starred_url": format!("{api}/starred{{/owner}}{{/repo}}"),
        "subscriptions_url": format!("{api}/subscriptions"),
        "organizations_url": format!("{api}/orgs"),
        "repos_url": format!("{api}/repos"),
        "events_url": format!("{api}/events{{/privacy}}"),
        "received_events_url": format!("{api}/received_events"),
        "type": kind.name(),
        "site_admin": false,
    })
}

/// User object; `null` for a deleted user.
pub(crate) fn user_or_null(world: &World, id: Id) -> Value {
    match world.people.get(&id) {
        Some(person) if !person.ghost => person.rendered.clone(),
        _ => Value::Null,
    }
}

/// User object; the ghost user for a deleted user.
pub(crate) fn user(world: &World, id: Id) -> Value {
    match user_or_null(world, id) {
        Value::Null => person(10_137, "ghost", PersonKind::User, &world.urls),
        found => found,
    }
}

/// Merges several objects.
fn merge<const N: usize>(parts: [Value; N]) -> Value {
    let fields = parts.into_iter().filter_map(|part| match part {
        Value::Object(fields) => Some(fields),
        _ => None,
    });
    Value::Object(fields.flatten().collect())
}

fn optional_user(world: &World, id: Option<Id>) -> Value {
    id.map_or(Value::Null, |id| user_or_null(world, id))
}

/// Base URL of a repository in the REST API.
pub(crate) fn repository_url(world: &World, repository: &Repository) -> String {
    format!("{}/repos/{}", world.urls.api, world.full_name(repository))
}

/// Base URL of a repository's web pages.
pub(crate) fn repository_page(world: &World, repository: &Repository) -> String {
    format!("{}/{}", world.urls.web, world.full_name(repository))
}

/// Reaction counts, all zero.
pub(crate) fn reactions(url: &str) -> Value {
    json!({
        "url": format!("{url}/reactions"), "total_count": 0, "+1": 0, "-1": 0, "laugh": 0,
        "hooray": 0, "confused": 0, "heart": 0, "rocket": 0, "eyes": 0,
    })
}

/// `author_association`: relation of an author to the repository.
pub(crate) fn association(world: &World, repository: &Repository, author: Id) -> &'static str {
    let Some(account) = world.accounts.get(&repository.owner) else {
        return "NONE";
    };
    if account.id == author {
        "OWNER"
    } else if account.kind == PersonKind::Organization && account.members.contains(&author) {
        "MEMBER"
    } else {
        "NONE"
    }
}

/// The labels with these ids.
pub(crate) fn labels(world: &World, repository: &Repository, ids: &[Id]) -> Value {
    let base = repository_url(world, repository);
    repository
        .labels
        .iter()
        .filter(|label| ids.contains(&label.id))
        .map(|label| {
            json!({
                "id": label.id, "node_id": node_id("Label", label.id),
                "url": format!("{base}/labels/{}", label.name), "name": label.name,
                "color": label.color, "default": true, "description": "",
            })
        })
        .collect()
}
