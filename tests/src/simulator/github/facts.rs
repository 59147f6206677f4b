//! Which Signal a fact must become, and its identity.
//!
//! Promises kinds and dedupe keys derived from the catalogue of Signals alone
//! (the table for GitHub), written without a look at the connector: the
//! comparison of the two is what the ledger is for.

use sha2::{Digest, Sha256};

use super::world::Id;
use crate::simulator::clock::iso;

/// A fact's kind, identity and whether a list endpoint shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) kind: &'static str,
    /// Identity without the provider's prefix.
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

/// What sets one change apart from another of the same action and second.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mark<'a> {
    /// Nothing does.
    None,
    /// The id of a label, milestone, type or person.
    Part(Id),
    /// Title and body after an edit.
    Edited(&'a str, Option<&'a str>),
}

/// The end of a change's key: `{action}:{part}:{updated_at}:{digest}`, as far as there is each.
fn change(action: &str, updated_at: i64, mark: Mark<'_>) -> String {
    let at = iso(updated_at);
    match mark {
        Mark::None => format!("{action}:{at}"),
        Mark::Part(id) => format!("{action}:{id}:{at}"),
        Mark::Edited(title, body) => {
            let mut hash = Sha256::new();
            hash.update(title);
            hash.update([0]);
            hash.update(body.unwrap_or_default());
            format!("{action}:{at}:{}", twelve_digits(hash))
        }
    }
}

fn twelve_digits(hash: Sha256) -> String {
    let mut digits = hex::encode(hash.finalize());
    digits.truncate(12);
    digits
}

/// Every other change of an issue.
pub(crate) fn issue_updated(id: Id, action: &str, updated_at: i64, mark: Mark<'_>) -> Fact {
    let change = change(action, updated_at, mark);
    unlisted("issue_updated", format!("issue:{id}:{change}"))
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
    let digest = twelve_digits(Sha256::new_with_prefix(body));
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

/// `reopened`, `ready_for_review` and every action without a kind of its own.
pub(crate) fn pr_changed(id: Id, action: &str, updated_at: i64, mark: Mark<'_>) -> Fact {
    let kind = match action {
        "reopened" => "pr_reopened",
        "ready_for_review" => "pr_ready_for_review",
        _ => "pr_updated",
    };
    unlisted(
        kind,
        format!("pr:{id}:{}", change(action, updated_at, mark)),
    )
}

pub(crate) fn pr_review_requested(id: Id, reviewer: Id, updated_at: i64) -> Fact {
    let key = format!("pr:{id}:review_requested:{reviewer}:{}", iso(updated_at));
    unlisted("pr_review_requested", key)
}

/// A review; one without a word of its own is told by its comments.
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

/// A branch or a tag (`ref_type`) that was created or deleted.
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
