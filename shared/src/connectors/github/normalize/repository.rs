//! Events of repositories.

use serde::Deserialize;
use serde_json::json;

use super::{Fact, FactTime, NormalizeContext, RepositoryRef, require};
use crate::connectors::github::wire::{Repository, User, WireError};
use crate::model::{SignalDraft, SignalKind};

/// The Signal of a `repository` delivery.
pub(super) fn event(
    action: &str,
    context: &NormalizeContext<'_, '_>,
) -> Result<Option<SignalDraft>, WireError> {
    let kind = match action {
        "created" => SignalKind::RepoCreated,
        "publicized" => SignalKind::RepoPublicized,
        "archived" => SignalKind::RepoArchived,
        "renamed" => SignalKind::RepoRenamed,
        "transferred" => SignalKind::RepoTransferred,
        _ => return Ok(None),
    };
    let (repository, raw) = context.payload.object::<Repository>("repository")?;
    let repo = RepositoryRef::from(&repository);
    let at = require(repository.updated_at, "repository.updated_at")?;
    let mut normalized = json!({ "private": repository.private });
    if matches!(action, "renamed" | "transferred") {
        normalized["from"] = json!(previous_name(action, context)?);
    }
    Ok(Some(repo.signal(Fact {
        kind,
        key: format!("repo:{}:{action}:{at}", repo.id),
        at: FactTime::from(at),
        actor: context.actor()?,
        subject: repo.subject(),
        normalized,
        raw,
    })))
}

/// The previous name of the repository, or of its owner.
fn previous_name(
    action: &str,
    context: &NormalizeContext<'_, '_>,
) -> Result<Option<String>, WireError> {
    #[derive(Deserialize)]
    struct Changes {
        repository: Option<Renamed>,
        owner: Option<Moved>,
    }
    #[derive(Deserialize)]
    struct Renamed {
        name: Option<Previous<String>>,
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
    struct Previous<T> {
        from: Option<T>,
    }
    let Some(changes) = context.payload.optional::<Changes>("changes")? else {
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
