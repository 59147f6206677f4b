//! Events of the installation, which change the connection.
//!
//! Anyone who has seen a delivery can replay it, so a change that would end or suspend the
//! connection is confirmed at GitHub first.

use serde_json::value::RawValue;

use crate::connectors::AccountChange;
use crate::connectors::github::wire::{
    Identified, Installation, Payload, Repository, User, WireError, read,
};

/// Returns the delivery's changes of the connection.
pub(super) fn changes(event: &str, payload: &Payload<'_>) -> Result<Vec<AccountChange>, WireError> {
    let action = payload.action();
    let change = match (event, action.as_deref().unwrap_or_default()) {
        ("installation", "created") => Some(installed(payload)?),
        ("installation", "deleted" | "suspend") => Some(AccountChange::GrantCheckRequired),
        ("installation", "unsuspend") => Some(AccountChange::Unsuspended),
        // New permissions change the kinds of readable objects.
        ("installation", "new_permissions_accepted") => Some(streams_changed(Vec::new())),
        ("installation_repositories", "added" | "removed") => {
            let removed: Option<Vec<Box<RawValue>>> = payload.optional("repositories_removed")?;
            // The list of repositories, which is read next, retires the ones with unreadable rows.
            let readable = removed.iter().flatten().filter_map(|row| {
                let repository: Identified = read("repositories_removed", row).ok()?;
                Some(repository.id.to_string())
            });
            Some(streams_changed(readable.collect()))
        }
        // The repository's address or its set of streams may have changed.
        ("repository", "created" | "renamed" | "transferred" | "edited") => {
            Some(streams_changed(Vec::new()))
        }
        ("repository", "deleted") => {
            let repository: Repository = payload.required("repository")?;
            Some(streams_changed(vec![repository.id.to_string()]))
        }
        // `github_app_authorization` revokes a user token, which is not stored.
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
