//! What happens to repositories as a whole.

use serde::Deserialize;
use serde_json::json;

use super::{Fact, Place, Scene, When, need};
use crate::connectors::github::wire::{Repository, User, WireError};
use crate::signals::{SignalDraft, SignalKind};

/// The Signal of a `repository` delivery.
pub(super) fn event(action: &str, scene: &Scene<'_, '_>) -> Result<Option<SignalDraft>, WireError> {
    let kind = match action {
        "created" => SignalKind::RepoCreated,
        "publicized" => SignalKind::RepoPublicized,
        "archived" => SignalKind::RepoArchived,
        "renamed" => SignalKind::RepoRenamed,
        "transferred" => SignalKind::RepoTransferred,
        _ => return Ok(None),
    };
    let (repository, raw) = scene.payload.object::<Repository>("repository")?;
    let place = Place::from(&repository);
    let at = need(repository.updated_at, "repository.updated_at")?;
    let mut normalized = json!({ "private": repository.private });
    if matches!(action, "renamed" | "transferred") {
        normalized["from"] = json!(former(action, scene)?);
    }
    Ok(Some(place.signal(Fact {
        kind,
        key: format!("repo:{}:{action}:{at}", place.id),
        at: When::from(at),
        actor: scene.actor()?,
        subject: place.subject(),
        normalized,
        raw,
    })))
}

/// The former name, or the former owner's.
fn former(action: &str, scene: &Scene<'_, '_>) -> Result<Option<String>, WireError> {
    #[derive(Deserialize)]
    struct Changes {
        repository: Option<Renamed>,
        owner: Option<Moved>,
    }
    #[derive(Deserialize)]
    struct Renamed {
        name: Option<Was<String>>,
    }
    #[derive(Deserialize)]
    struct Moved {
        from: Option<Owner>,
    }
    #[derive(Deserialize)]
    struct Owner {
        user: Option<User>,
        organization: Option<User>,
    }
    #[derive(Deserialize)]
    struct Was<T> {
        from: Option<T>,
    }
    let Some(changes) = scene.payload.optional::<Changes>("changes")? else {
        return Ok(None);
    };
    if action == "renamed" {
        return Ok(changes
            .repository
            .and_then(|found| found.name)
            .and_then(|name| name.from));
    }
    let owner = changes.owner.and_then(|owner| owner.from);
    Ok(owner
        .and_then(|from| from.organization.or(from.user))
        .and_then(|owner| owner.login))
}
