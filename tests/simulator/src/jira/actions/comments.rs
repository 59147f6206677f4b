//! Comments and worklogs.

use serde_json::{Value, json};

use super::{ActionOutcome, Event, FactDraft, Transaction};
use crate::jira::jql::IssueView;
use crate::jira::render::iso_ms;
use crate::jira::world::{Comment, Worklog};

/// A deleted comment with its issue.
pub(super) struct DeletedComment<'a> {
    pub(super) comment: &'a Comment,
    /// The issue as webhooks show it.
    pub(super) issue_json: &'a Value,
    pub(super) container: u64,
    pub(super) view: &'a IssueView,
    /// Deleted together with its issue.
    pub(super) is_secondary: bool,
}

/// Event of a comment, with the part of its issue that these events contain.
fn comment_event(
    name: &'static str,
    at: i64,
    comment: &Value,
    issue_json: &Value,
    view: IssueView,
) -> Event {
    let fields = &issue_json["fields"];
    let body = json!({
        "timestamp": at, "webhookEvent": name, "comment": comment,
        "issue": {
            "id": issue_json["id"], "key": issue_json["key"], "self": issue_json["self"],
            "fields": {
                "summary": fields["summary"], "project": fields["project"],
                "issuetype": fields["issuetype"], "status": fields["status"],
            },
        },
    });
    Event {
        issue: Some(view),
        ..Event::new(name, body)
    }
}

impl Transaction<'_> {
    pub(super) fn comment(
        &mut self,
        site: &str,
        issue: u64,
        author: &str,
        text: &str,
    ) -> ActionOutcome {
        let (id, at) = (self.world.number(), self.world.ms(self.when.at));
        let comment = Comment {
            id,
            author: author.to_owned(),
            editor: author.to_owned(),
            body: text.to_owned(),
            created: at,
            updated: at,
            fact: None,
            edit_fact: None,
        };
        self.issue(site, issue).updated = at;
        let (container, view) = self.container_and_view(site, issue);
        let issue_json = self.webhook_issue_json(site, issue);
        let site_data = &self.world.sites[site];
        let object = self.world.comment_json(site_data, issue, &comment, 2);
        let draft = FactDraft {
            kind: "issue_commented",
            key: format!("comment:{id}:created"),
            at,
            container,
            pollable: true,
        };
        let mut event = Event {
            triggered_by: Some(author.to_owned()),
            ..comment_event("comment_created", at, &object, &issue_json, view.clone())
        };
        if self.service.settings().comments_without_issue
            && let Some(body) = event.body.as_object_mut()
        {
            body.remove("issue");
        }
        let facts = self.emit(site, vec![draft], Some(event));
        self.issue(site, issue).comments.insert(
            id,
            Comment {
                fact: facts.first().copied(),
                ..comment
            },
        );
        if self.service.settings().comments_update_issues {
            // Jira also sends a comment as an update of its issue.
            let body = json!({
                "timestamp": at, "webhookEvent": "jira:issue_updated",
                "issue_event_type_name": "issue_commented", "user": self.person(site, author),
                "issue": issue_json, "comment": object,
            });
            let event = Event {
                issue: Some(view),
                triggered_by: Some(author.to_owned()),
                ..Event::new("jira:issue_updated", body)
            };
            self.emit(site, Vec::new(), Some(event));
        }
        ActionOutcome {
            object: json!({ "id": issue, "comment": id }),
            facts,
        }
    }

    pub(super) fn edit_comment(
        &mut self,
        site: &str,
        issue: u64,
        editor: &str,
        text: &str,
    ) -> Result<ActionOutcome, &'static str> {
        let at = self.world.ms(self.when.at);
        let issue_state = self.issue(site, issue);
        let comment = issue_state
            .comments
            .values_mut()
            .next_back()
            .ok_or("the issue has no comment")?;
        text.clone_into(&mut comment.body);
        editor.clone_into(&mut comment.editor);
        comment.updated = at;
        let stale: Vec<u64> = comment.edit_fact.take().into_iter().collect();
        let comment = comment.clone();
        issue_state.updated = at;
        self.service.core.ledger.hide(&stale);
        let (container, view) = self.container_and_view(site, issue);
        let issue_json = self.webhook_issue_json(site, issue);
        let object = self
            .world
            .comment_json(&self.world.sites[site], issue, &comment, 2);
        let draft = FactDraft {
            kind: "comment_edited",
            key: format!("comment:{}:edited:{}", comment.id, iso_ms(at)),
            at,
            container,
            pollable: true,
        };
        let event = Event {
            triggered_by: Some(editor.to_owned()),
            ..comment_event("comment_updated", at, &object, &issue_json, view)
        };
        let facts = self.emit(site, vec![draft], Some(event));
        if let Some(comment) = self.issue(site, issue).comments.get_mut(&comment.id) {
            comment.edit_fact = facts.first().copied();
        }
        Ok(ActionOutcome {
            object: json!({ "id": issue, "comment": comment.id }),
            facts,
        })
    }

    pub(super) fn delete_comment(
        &mut self,
        site: &str,
        issue: u64,
    ) -> Result<ActionOutcome, &'static str> {
        let at = self.world.ms(self.when.at);
        let issue_state = self.issue(site, issue);
        let (_, comment) = issue_state
            .comments
            .pop_last()
            .ok_or("the issue has no comment")?;
        issue_state.updated = at;
        let hidden: Vec<u64> = comment.fact.into_iter().chain(comment.edit_fact).collect();
        self.service.core.ledger.hide(&hidden);
        let (container, view) = self.container_and_view(site, issue);
        let deleted = DeletedComment {
            comment: &comment,
            issue_json: &self.webhook_issue_json(site, issue),
            container,
            view: &view,
            is_secondary: false,
        };
        let facts = self.emit_comment_deleted(site, issue, &deleted);
        Ok(ActionOutcome {
            object: json!({ "id": issue, "comment": comment.id }),
            facts,
        })
    }

    pub(super) fn emit_comment_deleted(
        &mut self,
        site: &str,
        issue: u64,
        deleted: &DeletedComment<'_>,
    ) -> Vec<u64> {
        let at = self.world.ms(self.when.at);
        let object = self
            .world
            .comment_json(&self.world.sites[site], issue, deleted.comment, 2);
        let draft = FactDraft {
            kind: "comment_deleted",
            key: format!("comment:{}:deleted", deleted.comment.id),
            at,
            container: deleted.container,
            pollable: false,
        };
        let view = deleted.view.clone();
        let event = Event {
            is_secondary: deleted.is_secondary,
            ..comment_event("comment_deleted", at, &object, deleted.issue_json, view)
        };
        self.emit(site, vec![draft], Some(event))
    }

    pub(super) fn log_work(&mut self, site: &str, issue: u64, author: &str) -> ActionOutcome {
        let (id, at) = (self.world.number(), self.world.ms(self.when.at));
        let (container, _) = self.container_and_view(site, issue);
        let worklog = Worklog {
            id,
            issue,
            author: author.to_owned(),
            created: at,
            fact: None,
        };
        let object = self.world.worklog_json(&self.world.sites[site], &worklog);
        let draft = FactDraft {
            kind: "work_logged",
            key: format!("worklog:{id}:created"),
            at,
            container,
            pollable: true,
        };
        let body = json!({ "timestamp": at, "webhookEvent": "worklog_created", "worklog": object });
        // Apps cannot subscribe to this event: only administrators' webhooks receive it.
        let event = Event {
            triggered_by: Some(author.to_owned()),
            ..Event::new("worklog_created", body)
        };
        let facts = self.emit(site, vec![draft], Some(event));
        self.site(site).worklogs.insert(
            id,
            Worklog {
                fact: facts.first().copied(),
                ..worklog
            },
        );
        ActionOutcome {
            object: json!({ "id": issue, "worklog": id }),
            facts,
        }
    }
}
