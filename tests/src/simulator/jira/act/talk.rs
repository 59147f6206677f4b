//! What is written about issues: comments, and work that was done.

use serde_json::{Value, json};

use super::{Done, News, Stage, Told};
use crate::simulator::jira::jql::Sight;
use crate::simulator::jira::render::iso_ms;
use crate::simulator::jira::world::{Comment, Worklog};

/// A comment that is gone, and the issue that it was of.
pub(super) struct Gone<'a> {
    pub(super) comment: &'a Comment,
    /// The issue as it is shown.
    pub(super) shown: &'a Value,
    pub(super) container: u64,
    pub(super) sight: &'a Sight,
    /// It went with its issue.
    pub(super) secondary: bool,
}

impl Stage<'_> {
    fn partial(shown: &Value) -> Value {
        let fields = &shown["fields"];
        json!({ "id": shown["id"], "key": shown["key"], "self": shown["self"], "fields": {
            "summary": fields["summary"], "project": fields["project"],
            "issuetype": fields["issuetype"], "status": fields["status"],
        } })
    }

    pub(super) fn comment(&mut self, site: &str, issue: u64, author: &str, text: &str) -> Done {
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
        let (container, sight) = self.place(site, issue);
        let shown = self.shown(site, issue);
        let place = &self.world.sites[site];
        let object = self.world.comment_json(place, issue, &comment, 2);
        let told = Told {
            kind: "issue_commented",
            key: format!("comment:{id}:created"),
            at,
            container,
            pollable: true,
        };
        let body = json!({
            "timestamp": at, "webhookEvent": "comment_created", "comment": object,
            "issue": Self::partial(&shown),
        });
        let mut body = body;
        if self.hub.settings().comments_without_issue
            && let Some(body) = body.as_object_mut()
        {
            body.remove("issue");
        }
        let news = News {
            about: Some(sight.clone()),
            by: Some(author.to_owned()),
            ..News::new("comment_created", body)
        };
        let facts = self.happen(site, vec![told], Some(news));
        self.issue(site, issue).comments.insert(
            id,
            Comment {
                fact: facts.first().copied(),
                ..comment
            },
        );
        if self.hub.settings().comments_update_issues {
            // The same, announced once more.
            let body = json!({
                "timestamp": at, "webhookEvent": "jira:issue_updated",
                "issue_event_type_name": "issue_commented", "user": self.person(site, author),
                "issue": shown, "comment": object,
            });
            let news = News {
                about: Some(sight),
                by: Some(author.to_owned()),
                ..News::new("jira:issue_updated", body)
            };
            self.happen(site, Vec::new(), Some(news));
        }
        Done {
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
    ) -> Result<Done, &'static str> {
        let at = self.world.ms(self.when.at);
        let known = self.issue(site, issue);
        let comment = known
            .comments
            .values_mut()
            .next_back()
            .ok_or("the issue has no comment")?;
        text.clone_into(&mut comment.body);
        editor.clone_into(&mut comment.editor);
        comment.updated = at;
        let stale: Vec<u64> = comment.edit_fact.take().into_iter().collect();
        let comment = comment.clone();
        known.updated = at;
        self.hub.core.ledger.hide(&stale);
        let (container, sight) = self.place(site, issue);
        let shown = self.shown(site, issue);
        let object = self
            .world
            .comment_json(&self.world.sites[site], issue, &comment, 2);
        let told = Told {
            kind: "comment_edited",
            key: format!("comment:{}:edited:{}", comment.id, iso_ms(at)),
            at,
            container,
            pollable: true,
        };
        let body = json!({
            "timestamp": at, "webhookEvent": "comment_updated", "comment": object,
            "issue": Self::partial(&shown),
        });
        let news = News {
            about: Some(sight),
            by: Some(editor.to_owned()),
            ..News::new("comment_updated", body)
        };
        let facts = self.happen(site, vec![told], Some(news));
        if let Some(comment) = self.issue(site, issue).comments.get_mut(&comment.id) {
            comment.edit_fact = facts.first().copied();
        }
        Ok(Done {
            object: json!({ "id": issue, "comment": comment.id }),
            facts,
        })
    }

    pub(super) fn delete_comment(&mut self, site: &str, issue: u64) -> Result<Done, &'static str> {
        let at = self.world.ms(self.when.at);
        let known = self.issue(site, issue);
        let (_, comment) = known
            .comments
            .pop_last()
            .ok_or("the issue has no comment")?;
        known.updated = at;
        let hidden: Vec<u64> = comment.fact.into_iter().chain(comment.edit_fact).collect();
        self.hub.core.ledger.hide(&hidden);
        let (container, sight) = self.place(site, issue);
        let gone = Gone {
            comment: &comment,
            shown: &self.shown(site, issue),
            container,
            sight: &sight,
            secondary: false,
        };
        let facts = self.comment_gone(site, issue, &gone);
        Ok(Done {
            object: json!({ "id": issue, "comment": comment.id }),
            facts,
        })
    }

    pub(super) fn comment_gone(&mut self, site: &str, issue: u64, gone: &Gone<'_>) -> Vec<u64> {
        let at = self.world.ms(self.when.at);
        let object = self
            .world
            .comment_json(&self.world.sites[site], issue, gone.comment, 2);
        let told = Told {
            kind: "comment_deleted",
            key: format!("comment:{}:deleted", gone.comment.id),
            at,
            container: gone.container,
            pollable: false,
        };
        let body = json!({
            "timestamp": at, "webhookEvent": "comment_deleted", "comment": object,
            "issue": Self::partial(gone.shown),
        });
        let news = News {
            about: Some(gone.sight.clone()),
            secondary: gone.secondary,
            ..News::new("comment_deleted", body)
        };
        self.happen(site, vec![told], Some(news))
    }

    pub(super) fn log_work(&mut self, site: &str, issue: u64, author: &str) -> Done {
        let (id, at) = (self.world.number(), self.world.ms(self.when.at));
        let (container, _) = self.place(site, issue);
        let worklog = Worklog {
            id,
            issue,
            author: author.to_owned(),
            created: at,
            fact: None,
        };
        let object = self.world.worklog_json(&self.world.sites[site], &worklog);
        let told = Told {
            kind: "work_logged",
            key: format!("worklog:{id}:created"),
            at,
            container,
            pollable: true,
        };
        let body = json!({ "timestamp": at, "webhookEvent": "worklog_created", "worklog": object });
        // No app may ask for it: only an administrator's webhook tells.
        let news = News {
            by: Some(author.to_owned()),
            ..News::new("worklog_created", body)
        };
        let facts = self.happen(site, vec![told], Some(news));
        self.site(site).worklogs.insert(
            id,
            Worklog {
                fact: facts.first().copied(),
                ..worklog
            },
        );
        Done {
            object: json!({ "id": issue, "worklog": id }),
            facts,
        }
    }
}
