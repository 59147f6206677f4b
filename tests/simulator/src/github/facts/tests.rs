//! Tests of dedupe keys against the catalogue.

use super::*;

const AT: i64 = 1_795_428_000;

fn check(fact: Fact, kind: &str, key: &str, pollable: bool) {
    let expected = (kind, key.replace("{T}", "2026-11-23T10:00:00Z"), pollable);
    assert_eq!((fact.kind, fact.key, fact.pollable), expected);
}

#[test]
fn thread_keys_follow_the_catalogue() {
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
        issue_updated(7, "pinned", AT, Discriminator::None),
        "issue_updated",
        "issue:7:pinned:{T}",
        false,
    );
    let fact = issue_updated(7, "labeled", AT, Discriminator::Part(9));
    check(fact, "issue_updated", "issue:7:labeled:9:{T}", false);
    // `printf 'a\0b' | sha256sum`
    let fact = issue_updated(7, "edited", AT, Discriminator::Edited("a", Some("b")));
    check(
        fact,
        "issue_updated",
        "issue:7:edited:{T}:59b271ae1bbc",
        false,
    );
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
    let fact = comment_edited("review_comment", 5, AT, "abc");
    let key = "review_comment:5:edited:{T}:ba7816bf8f01";
    check(fact, "comment_edited", key, false);
    let fact = comment_deleted("discussion_comment", 5);
    check(
        fact,
        "comment_deleted",
        "discussion_comment:5:deleted",
        false,
    );
    check(
        pr_changed(4, "reopened", AT, Discriminator::None),
        "pr_reopened",
        "pr:4:reopened:{T}",
        false,
    );
    check(
        pr_changed(4, "assigned", AT, Discriminator::Part(8)),
        "pr_updated",
        "pr:4:assigned:8:{T}",
        false,
    );
    assert_eq!(pr_reviewed(3, "commented", ""), None);
    let fact = pr_reviewed(3, "approved", "").expect("a fact");
    check(fact, "pr_reviewed", "review:3:submitted", true);
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
}

#[test]
fn code_and_community_keys_follow_the_catalogue() {
    let fact = commits_pushed(1, "refs/heads/main", "abc", AT);
    let key = "push:1:refs/heads/main:abc:{T}";
    check(fact, "commits_pushed", key, false);
    let fact = reference("tag", 1, "v1", false, AT);
    check(fact, "tag_deleted", "tag:1:v1:deleted:{T}", false);
    check(
        unstarred(1, 2, AT),
        "repo_unstarred",
        "unstar:1:2:{T}",
        false,
    );
    let fact = member_added(1, 2, AT);
    check(fact, "member_added", "member:1:2:added:{T}", false);
    check(
        workflow_completed(2, 3),
        "workflow_completed",
        "workflow_run:2:3",
        true,
    );
    check(starred(1, 2, AT), "repo_starred", "star:1:2:{T}", true);
}

#[test]
fn only_catalogued_repository_changes_are_facts() {
    assert!(repository_changed(1, "edited", AT).is_none());
    let renamed = repository_changed(1, "renamed", AT).expect("a fact");
    assert_eq!(
        (renamed.kind, renamed.key.as_str()),
        ("repo_renamed", "repo:1:renamed:2026-11-23T10:00:00Z")
    );
}
