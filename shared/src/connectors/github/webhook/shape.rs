//! Which event a body is of.
//!
//! The signature covers the body and not `X-GitHub-Event`, so whoever has one genuine delivery
//! could send it again as another event. A delivery is read as the event that its header names
//! only if its body has that event's shape: the event's own fields, and none that another event
//! is known by.
//!
//! Source: "Webhook events and payloads" at docs.github.com.

use crate::connectors::github::wire::Payload;

/// Top-level fields that tell events apart.
const MARKS: &[&str] = &[
    "account",
    "alert",
    "answer",
    "blocked_user",
    "build",
    "check_run",
    "check_suite",
    "client_payload",
    "comment",
    "commits",
    "context",
    "definition",
    "deployment",
    "deployment_status",
    "discussion",
    "forkee",
    "head_commit",
    "hook",
    "hook_id",
    "invitation",
    "issue",
    "issue_dependency_id",
    "key",
    "label",
    "marketplace_purchase",
    "master_branch",
    "member",
    "membership",
    "merge_group",
    "milestone",
    "package",
    "pages",
    "parent_issue",
    "personal_access_token_request",
    "project",
    "project_card",
    "project_column",
    "projects_v2",
    "projects_v2_item",
    "pull_request",
    "pusher",
    "pusher_type",
    "ref",
    "ref_type",
    "registry_package",
    "release",
    "repositories",
    "repositories_added",
    "repositories_removed",
    "repository",
    "repository_advisory",
    "repository_import",
    "repository_ruleset",
    "requested_action",
    "review",
    "rule",
    "scope",
    "security_advisory",
    "sha",
    "sponsorship",
    "starred_at",
    "sub_issue",
    "target_type",
    "team",
    "thread",
    "workflow_job",
    "workflow_run",
    "zen",
];

/// An event's shape.
struct Shape {
    /// Marks that its bodies have.
    needed: &'static [&'static str],
    /// Marks that they may have.
    allowed: &'static [&'static str],
    /// Its actions; any where there are none.
    actions: &'static [&'static str],
}

/// Whether a body can be one of this event. Events that tell nothing may have any.
pub(super) fn fits(event: &str, payload: &Payload<'_>) -> bool {
    let Some(shape) = of(event) else {
        return true;
    };
    let action = payload.action();
    let is_its_own = match action.as_deref() {
        Some(action) => shape.actions.is_empty() || shape.actions.contains(&action),
        None => shape.actions.is_empty(),
    };
    let has_its_marks = shape.needed.iter().all(|mark| payload.has(mark));
    let has_no_other = || {
        MARKS
            .iter()
            .filter(|mark| !shape.needed.contains(mark) && !shape.allowed.contains(mark))
            .all(|mark| !payload.has(mark))
    };
    is_its_own && has_its_marks && has_no_other()
}

/// The shape of an event that is read.
fn of(event: &str) -> Option<Shape> {
    let (needed, allowed): (&[&str], &[&str]) = match event {
        "issues" => (&["repository", "issue"], &["label", "milestone"]),
        "issue_comment" => (&["repository", "issue", "comment"], &[]),
        "pull_request" => (&["repository", "pull_request"], &["label", "milestone"]),
        "pull_request_review" => (&["repository", "pull_request", "review"], &[]),
        "pull_request_review_comment" => (&["repository", "pull_request", "comment"], &[]),
        "push" => (
            &["repository", "ref", "commits", "pusher"],
            &["head_commit"],
        ),
        "create" => (
            &["repository", "ref", "ref_type", "master_branch"],
            &["pusher_type"],
        ),
        "delete" => (&["repository", "ref", "ref_type"], &["pusher_type"]),
        "release" => (&["repository", "release"], &[]),
        "deployment_status" => (
            &["repository", "deployment", "deployment_status"],
            &["check_run", "workflow_run"],
        ),
        "workflow_run" => (&["repository", "workflow_run"], &[]),
        "discussion" => (&["repository", "discussion"], &["answer", "label"]),
        "discussion_comment" => (&["repository", "discussion", "comment"], &[]),
        "commit_comment" => (&["repository", "comment"], &[]),
        "star" => (&["repository", "starred_at"], &[]),
        "fork" => (&["repository", "forkee"], &[]),
        "milestone" => (&["repository", "milestone"], &[]),
        "member" => (&["repository", "member"], &[]),
        "repository" => (&["repository"], &[]),
        "installation" => (&["installation"], &["repositories"]),
        "installation_repositories" => (
            &["installation", "repositories_added", "repositories_removed"],
            &[],
        ),
        _ => return None,
    };
    let actions: &[&str] = match event {
        "installation" => &[
            "created",
            "deleted",
            "new_permissions_accepted",
            "suspend",
            "unsuspend",
        ],
        "installation_repositories" => &["added", "removed"],
        "repository" => &[
            "archived",
            "created",
            "deleted",
            "edited",
            "privatized",
            "publicized",
            "renamed",
            "transferred",
            "unarchived",
        ],
        "star" => &["created", "deleted"],
        _ => &[],
    };
    Some(Shape {
        needed,
        allowed,
        actions,
    })
}
