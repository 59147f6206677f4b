//! Events about the installation itself: they change the connection. A delivery can be repeated by
//! whoever has seen it, so what would end or suspend the connection is confirmed at GitHub first.

use serde::Deserialize;

use crate::connectors::AccountChange;
use crate::connectors::github::wire::{Installation, Payload, Repository, User, WireError};

/// A repository as these events name it.
#[derive(Deserialize)]
struct Listed {
    id: Option<u64>,
}

/// What a delivery changes about the connection.
pub(super) fn changes(event: &str, payload: &Payload<'_>) -> Result<Vec<AccountChange>, WireError> {
    let action = payload.action();
    let change = match (event, action.as_deref().unwrap_or_default()) {
        ("installation", "created") => Some(installed(payload)?),
        ("installation", "deleted" | "suspend") => Some(AccountChange::GrantInDoubt),
        ("installation", "unsuspend") => Some(AccountChange::Unsuspended),
        // Other permissions open and close kinds of objects.
        ("installation", "new_permissions_accepted") => Some(streams_changed(Vec::new())),
        ("installation_repositories", "added" | "removed") => {
            let removed: Option<Vec<Listed>> = payload.optional("repositories_removed")?;
            let removed = removed.unwrap_or_default();
            Some(streams_changed(
                removed
                    .iter()
                    .filter_map(|listed| listed.id)
                    .map(|id| id.to_string())
                    .collect(),
            ))
        }
        // A repository that moved, or has issues now, is read elsewhere or otherwise.
        ("repository", "created" | "renamed" | "transferred" | "edited") => {
            Some(streams_changed(Vec::new()))
        }
        ("repository", "deleted") => {
            let repository: Repository = payload.required("repository")?;
            Some(streams_changed(vec![repository.id.to_string()]))
        }
        // `github_app_authorization` ends a person's OAuth grant, which is not kept.
        _ => None,
    };
    Ok(change.into_iter().collect())
}

fn installed(payload: &Payload<'_>) -> Result<AccountChange, WireError> {
    let installation: Installation = payload.required("installation")?;
    let requester: Option<User> = payload.optional("requester")?;
    Ok(AccountChange::Installed {
        account: installation
            .external_account()
            .ok_or(WireError::Missing("installation.account"))?,
        requester: requester.and_then(|user| user.id).map(|id| id.to_string()),
    })
}

const fn streams_changed(removed_resources: Vec<String>) -> AccountChange {
    AccountChange::StreamsChanged { removed_resources }
}
