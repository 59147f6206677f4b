//! Kinds and dedupe keys of the Signals that GitHub's facts must become.
//!
//! They follow the catalogue of Signals and share no code with the connector, so that the
//! ledger can verify the connector.

use sha2::{Digest, Sha256};

use super::world::Id;
use crate::clock::iso;

/// Kind and dedupe key of a fact, and whether a list endpoint shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) kind: &'static str,
    /// Dedupe key without the provider's prefix.
    pub(crate) key: String,
    pub(crate) pollable: bool,
}

fn listed(kind: &'static str, key: String) -> Fact {
    Fact {
        kind,
        key,
        pollable: true,
    }
}

fn unlisted(kind: &'static str, key: String) -> Fact {
    Fact {
        kind,
        key,
        pollable: false,
    }
}

pub(crate) fn issue_created(id: Id) -> Fact {
    listed("issue_created", format!("issue:{id}:created"))
}

pub(crate) fn issue_closed(id: Id, closed_at: i64) -> Fact {
    listed(
        "issue_closed",
        format!("issue:{id}:closed:{}", iso(closed_at)),
    )
}

pub(crate) fn issue_reopened(id: Id, updated_at: i64) -> Fact {
    unlisted(
        "issue_reopened",
        format!("issue:{id}:reopened:{}", iso(updated_at)),
    )
}

pub(crate) fn issue_deleted(id: Id) -> Fact {
    unlisted("issue_deleted", format!("issue:{id}:deleted"))
}

pub(crate) fn issue_transferred(id: Id) -> Fact {
    unlisted("issue_transferred", format!("issue:{id}:transferred"))
}

pub(crate) fn issue_assignment(id: Id, set: bool, assignee: Id, updated_at: i64) -> Fact {
    let (kind, action) = if set {
        ("issue_assigned", "assigned")
    } else {
        ("issue_unassigned", "unassigned")
    };
    unlisted(
        kind,
        format!("issue:{id}:{action}:{assignee}:{}", iso(updated_at)),
    )
}

/// Part of a key that distinguishes changes with the same action and second.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Discriminator<'a> {
    /// No further part.
    None,
    /// Id of a label, milestone, type or person.
    Part(Id),
    /// Title and body after an edit, of which the key has a digest.
    Edited(&'a str, Option<&'a str>),
}

/// Suffix of a change's key: `{action}[:{part}]:{updated_at}[:{digest}]`.
fn change_suffix(action: &str, updated_at: i64, discriminator: Discriminator<'_>) -> String {
    let at = iso(updated_at);
    match discriminator {
        Discriminator::None => format!("{action}:{at}"),
        Discriminator::Part(id) => format!("{action}:{id}:{at}"),
        Discriminator::Edited(title, body) => {
            let mut hash = Sha256::new();
            hash.update(title);
            hash.update([0]);
            hash.update(body.unwrap_or_default());
            format!("{action}:{at}:{}", digest(hash))
        }
    }
}

/// First twelve hexadecimal digits of a hash.
fn digest(hash: Sha256) -> String {
    let mut digits = hex::encode(hash.finalize());
    digits.truncate(12);
    digits
}

/// Change of an issue that has no kind for itself.
pub(crate) fn issue_updated(
    id: Id,
    action: &str,
    updated_at: i64,
    discriminator: Discriminator<'_>,
) -> Fact {
    let suffix = change_suffix(action, updated_at, discriminator);
    unlisted("issue_updated", format!("issue:{id}:{suffix}"))
}

pub(crate) fn comment_created(id: Id, on_pull: bool) -> Fact {
    let kind = if on_pull {
        "pr_commented"
    } else {
        "issue_commented"
    };
    listed(kind, format!("comment:{id}:created"))
}

/// `family` is `comment`, `review_comment` or `discussion_comment`.
pub(crate) fn comment_edited(family: &str, id: Id, updated_at: i64, body: &str) -> Fact {
    let digest = digest(Sha256::new_with_prefix(body));
    unlisted(
        "comment_edited",
        format!("{family}:{id}:edited:{}:{digest}", iso(updated_at)),
    )
}

pub(crate) fn comment_deleted(family: &str, id: Id) -> Fact {
    unlisted("comment_deleted", format!("{family}:{id}:deleted"))
}

pub(crate) fn pr_opened(id: Id) -> Fact {
    listed("pr_opened", format!("pr:{id}:opened"))
}

pub(crate) fn pr_merged(id: Id) -> Fact {
    listed("pr_merged", format!("pr:{id}:merged"))
}

pub(crate) fn pr_closed(id: Id, closed_at: i64) -> Fact {
    listed("pr_closed", format!("pr:{id}:closed:{}", iso(closed_at)))
}

/// `reopened`, `ready_for_review`, or an action that has no kind for itself.
pub(crate) fn pr_changed(
    id: Id,
    action: &str,
    updated_at: i64,
    discriminator: Discriminator<'_>,
) -> Fact {
    let kind = match action {
        "reopened" => "pr_reopened",
        "ready_for_review" => "pr_ready_for_review",
        _ => "pr_updated",
    };
    unlisted(
        kind,
        format!(
            "pr:{id}:{}",
            change_suffix(action, updated_at, discriminator)
        ),
    )
}

pub(crate) fn pr_review_requested(id: Id, reviewer: Id, updated_at: i64) -> Fact {
    let key = format!("pr:{id}:review_requested:{reviewer}:{}", iso(updated_at));
    unlisted("pr_review_requested", key)
}

/// A submitted review; `None` if it only holds review comments, which are facts themselves.
pub(crate) fn pr_reviewed(review: Id, state: &str, body: &str) -> Option<Fact> {
    let is_container = state == "commented" && body.is_empty();
    let fact = || listed("pr_reviewed", format!("review:{review}:submitted"));
    (!is_container).then(fact)
}

pub(crate) fn pr_review_dismissed(review: Id) -> Fact {
    unlisted("pr_review_dismissed", format!("review:{review}:dismissed"))
}

pub(crate) fn review_comment_created(id: Id) -> Fact {
    listed("pr_commented", format!("review_comment:{id}:created"))
}

pub(crate) fn commits_pushed(repository: Id, full_ref: &str, after: &str, pushed_at: i64) -> Fact {
    let at = iso(pushed_at);
    unlisted(
        "commits_pushed",
        format!("push:{repository}:{full_ref}:{after}:{at}"),
    )
}

/// Creation or deletion of a branch or tag (`ref_type`).
pub(crate) fn reference(
    ref_type: &str,
    repository: Id,
    name: &str,
    created: bool,
    pushed_at: i64,
) -> Fact {
    let (kind, verb) = match (ref_type, created) {
        ("branch", true) => ("branch_created", "created"),
        ("branch", false) => ("branch_deleted", "deleted"),
        (_, true) => ("tag_created", "created"),
        (_, false) => ("tag_deleted", "deleted"),
    };
    unlisted(
        kind,
        format!("{ref_type}:{repository}:{name}:{verb}:{}", iso(pushed_at)),
    )
}

pub(crate) fn release_published(id: Id) -> Fact {
    listed("release_published", format!("release:{id}:published"))
}

pub(crate) fn release_edited(id: Id, updated_at: i64) -> Fact {
    unlisted(
        "release_edited",
        format!("release:{id}:edited:{}", iso(updated_at)),
    )
}

pub(crate) fn release_deleted(id: Id) -> Fact {
    unlisted("release_deleted", format!("release:{id}:deleted"))
}

pub(crate) fn deployment_status(id: Id) -> Fact {
    unlisted(
        "deployment_status_changed",
        format!("deployment_status:{id}"),
    )
}

pub(crate) fn workflow_completed(id: Id, attempt: u32) -> Fact {
    listed("workflow_completed", format!("workflow_run:{id}:{attempt}"))
}

pub(crate) fn discussion_created(id: Id) -> Fact {
    unlisted("discussion_created", format!("discussion:{id}:created"))
}

pub(crate) fn discussion_answered(id: Id, chosen_at: i64) -> Fact {
    unlisted(
        "discussion_answered",
        format!("discussion:{id}:answered:{}", iso(chosen_at)),
    )
}

pub(crate) fn discussion_commented(id: Id) -> Fact {
    unlisted(
        "discussion_commented",
        format!("discussion_comment:{id}:created"),
    )
}

pub(crate) fn commit_commented(id: Id) -> Fact {
    unlisted("commit_commented", format!("commit_comment:{id}:created"))
}

pub(crate) fn starred(repository: Id, user: Id, starred_at: i64) -> Fact {
    listed(
        "repo_starred",
        format!("star:{repository}:{user}:{}", iso(starred_at)),
    )
}

pub(crate) fn unstarred(repository: Id, user: Id, updated_at: i64) -> Fact {
    unlisted(
        "repo_unstarred",
        format!("unstar:{repository}:{user}:{}", iso(updated_at)),
    )
}

pub(crate) fn forked(forkee: Id) -> Fact {
    unlisted("repo_forked", format!("fork:{forkee}"))
}

pub(crate) fn milestone_created(id: Id) -> Fact {
    unlisted("milestone_created", format!("milestone:{id}:created"))
}

pub(crate) fn milestone_closed(id: Id, closed_at: i64) -> Fact {
    unlisted(
        "milestone_closed",
        format!("milestone:{id}:closed:{}", iso(closed_at)),
    )
}

pub(crate) fn member_added(repository: Id, member: Id, updated_at: i64) -> Fact {
    unlisted(
        "member_added",
        format!("member:{repository}:{member}:added:{}", iso(updated_at)),
    )
}

/// `created`, `publicized`, `archived`, `renamed` or `transferred`.
pub(crate) fn repository_changed(id: Id, action: &str, updated_at: i64) -> Option<Fact> {
    let kind = match action {
        "created" => "repo_created",
        "publicized" => "repo_publicized",
        "archived" => "repo_archived",
        "renamed" => "repo_renamed",
        "transferred" => "repo_transferred",
        _ => return None,
    };
    Some(unlisted(
        kind,
        format!("repo:{id}:{action}:{}", iso(updated_at)),
    ))
}

#[cfg(test)]
mod tests;
