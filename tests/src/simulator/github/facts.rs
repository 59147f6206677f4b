//! Which Signal a fact must become, and its identity.
//!
//! Promises kinds and dedupe keys derived from the catalogue of Signals alone
//! (the table for GitHub), written without a look at the connector: the
//! comparison of the two is what the ledger is for.

use super::world::Id;
use crate::simulator::clock::{Clock, iso};

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

/// Every other change of an issue; `detail` is the label's or milestone's id.
pub(crate) fn issue_updated(id: Id, action: &str, updated_at: i64, detail: Option<Id>) -> Fact {
    let detail = detail.map(|id| format!(":{id}")).unwrap_or_default();
    unlisted(
        "issue_updated",
        format!("issue:{id}:{action}:{}{detail}", iso(updated_at)),
    )
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
pub(crate) fn comment_edited(family: &str, id: Id, updated_at: i64) -> Fact {
    unlisted(
        "comment_edited",
        format!("{family}:{id}:edited:{}", iso(updated_at)),
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
pub(crate) fn pr_changed(id: Id, action: &str, updated_at: i64) -> Fact {
    let kind = match action {
        "reopened" => "pr_reopened",
        "ready_for_review" => "pr_ready_for_review",
        _ => "pr_updated",
    };
    unlisted(kind, format!("pr:{id}:{action}:{}", iso(updated_at)))
}

pub(crate) fn pr_review_requested(id: Id, reviewer: Id, updated_at: i64) -> Fact {
    let key = format!("pr:{id}:review_requested:{reviewer}:{}", iso(updated_at));
    unlisted("pr_review_requested", key)
}

pub(crate) fn pr_reviewed(review: Id) -> Fact {
    listed("pr_reviewed", format!("review:{review}:submitted"))
}

pub(crate) fn pr_review_dismissed(review: Id) -> Fact {
    unlisted("pr_review_dismissed", format!("review:{review}:dismissed"))
}

pub(crate) fn review_comment_created(id: Id) -> Fact {
    listed("pr_commented", format!("review_comment:{id}:created"))
}

pub(crate) fn commits_pushed(repository: Id, full_ref: &str, after: &str) -> Fact {
    unlisted(
        "commits_pushed",
        format!("push:{repository}:{full_ref}:{after}"),
    )
}

/// A branch or a tag (`ref_type`) that was created or deleted today.
pub(crate) fn reference(ref_type: &str, repository: Id, name: &str, created: bool) -> Fact {
    let (kind, verb) = match (ref_type, created) {
        ("branch", true) => ("branch_created", "created"),
        ("branch", false) => ("branch_deleted", "deleted"),
        (_, true) => ("tag_created", "created"),
        (_, false) => ("tag_deleted", "deleted"),
    };
    unlisted(
        kind,
        format!(
            "{ref_type}:{repository}:{name}:{verb}:{}",
            Clock::system_day()
        ),
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

pub(crate) fn unstarred(repository: Id, user: Id) -> Fact {
    unlisted(
        "repo_unstarred",
        format!("unstar:{repository}:{user}:{}", Clock::system_day()),
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

pub(crate) fn member_added(repository: Id, member: Id) -> Fact {
    unlisted(
        "member_added",
        format!("member:{repository}:{member}:added:{}", Clock::system_day()),
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
mod tests {
    use super::*;

    const AT: i64 = 1_795_428_000;

    #[test]
    fn keys_follow_the_catalogue() {
        const T: &str = "2026-11-23T10:00:00Z";
        let check = |fact: Fact, kind: &str, key: &str, pollable: bool| {
            let expected = (kind, key.replace("{T}", T), pollable);
            assert_eq!((fact.kind, fact.key, fact.pollable), expected);
        };
        check(issue_created(7), "issue_created", "issue:7:created", true);
        check(
            issue_closed(7, AT),
            "issue_closed",
            "issue:7:closed:{T}",
            true,
        );
        check(
            issue_reopened(7, AT),
            "issue_reopened",
            "issue:7:reopened:{T}",
            false,
        );
        let fact = issue_assignment(7, false, 3, AT);
        check(fact, "issue_unassigned", "issue:7:unassigned:3:{T}", false);
        check(
            issue_updated(7, "edited", AT, None),
            "issue_updated",
            "issue:7:edited:{T}",
            false,
        );
        let fact = issue_updated(7, "labeled", AT, Some(9));
        check(fact, "issue_updated", "issue:7:labeled:{T}:9", false);
        check(
            comment_created(5, false),
            "issue_commented",
            "comment:5:created",
            true,
        );
        check(
            comment_created(5, true),
            "pr_commented",
            "comment:5:created",
            true,
        );
        let fact = comment_edited("review_comment", 5, AT);
        check(fact, "comment_edited", "review_comment:5:edited:{T}", false);
        let fact = comment_deleted("discussion_comment", 5);
        check(
            fact,
            "comment_deleted",
            "discussion_comment:5:deleted",
            false,
        );
        check(
            pr_changed(4, "reopened", AT),
            "pr_reopened",
            "pr:4:reopened:{T}",
            false,
        );
        check(
            pr_changed(4, "synchronize", AT),
            "pr_updated",
            "pr:4:synchronize:{T}",
            false,
        );
        check(pr_merged(4), "pr_merged", "pr:4:merged", true);
        let fact = pr_review_requested(4, 8, AT);
        check(
            fact,
            "pr_review_requested",
            "pr:4:review_requested:8:{T}",
            false,
        );
        check(
            review_comment_created(6),
            "pr_commented",
            "review_comment:6:created",
            true,
        );
        let fact = commits_pushed(1, "refs/heads/main", "abc");
        check(fact, "commits_pushed", "push:1:refs/heads/main:abc", false);
        check(
            workflow_completed(2, 3),
            "workflow_completed",
            "workflow_run:2:3",
            true,
        );
        check(starred(1, 2, AT), "repo_starred", "star:1:2:{T}", true);
    }

    #[test]
    fn facts_without_a_time_of_their_own_carry_the_day() {
        let day = Clock::system_day();
        let fact = reference("tag", 1, "v1", false);
        assert_eq!(
            (fact.kind, fact.key),
            ("tag_deleted", format!("tag:1:v1:deleted:{day}"))
        );
        assert_eq!(unstarred(1, 2).key, format!("unstar:1:2:{day}"));
        assert_eq!(member_added(1, 2).key, format!("member:1:2:added:{day}"));
    }

    #[test]
    fn only_the_listed_repository_changes_are_facts() {
        assert!(repository_changed(1, "edited", AT).is_none());
        let renamed = repository_changed(1, "renamed", AT).expect("a fact");
        assert_eq!(
            (renamed.kind, renamed.key.as_str()),
            ("repo_renamed", "repo:1:renamed:2026-11-23T10:00:00Z")
        );
    }
}
