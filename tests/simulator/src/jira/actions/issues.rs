//! Issues: creation, changes, moves and deletion.

use std::collections::BTreeMap;

use rand::seq::IteratorRandom as _;
use serde_json::{Value, json};

use super::comments::DeletedComment;
use super::{ActionOutcome, ActionParams, Event, FactDraft, Transaction};
use crate::jira::jql::IssueView;
use crate::jira::render::item_json;
use crate::jira::world::{Comment, History, Issue, Item, STATUSES, World};

impl Transaction<'_> {
    pub(super) fn perform_on_issue(
        &mut self,
        params: &ActionParams,
        site: &str,
        issue: u64,
        actor: &str,
    ) -> Result<ActionOutcome, &'static str> {
        let number = self.world.number();
        let text = params
            .text
            .clone()
            .unwrap_or_else(|| format!("Note {number}: the valve is tight"));
        match params.action.as_str() {
            "issue.transitioned" => self.transition(params, site, issue, actor),
            "issue.assigned" | "issue.unassigned" => {
                let to = match (params.action.as_str(), &params.assignee) {
                    ("issue.unassigned", _) => None,
                    (_, Some(assignee)) => Some(assignee.clone()),
                    _ => self.world.random_person(site),
                };
                let item = self.assignment(site, issue, to)?;
                Ok(self.change(site, issue, actor, vec![item]))
            }
            "issue.edited" => {
                let before = self.issue(site, issue).summary.clone();
                self.issue(site, issue).summary.clone_from(&text);
                let item = Item {
                    field: "summary",
                    from: Some((String::new(), before)),
                    to: Some((String::new(), text)),
                };
                Ok(self.change(site, issue, actor, vec![item]))
            }
            "issue.moved" => self.move_issue(params, site, issue, actor),
            "issue.deleted" => Ok(self.delete_issue(site, issue, actor)),
            "comment.created" => Ok(self.comment(site, issue, actor, &text)),
            "comment.edited" => self.edit_comment(site, issue, actor, &text),
            "comment.deleted" => self.delete_comment(site, issue),
            "worklog.created" => Ok(self.log_work(site, issue, actor)),
            _ => Err("unknown action"),
        }
    }

    pub(super) fn issue(&mut self, site: &str, issue: u64) -> &mut Issue {
        self.site(site)
            .issues
            .get_mut(&issue)
            .unwrap_or_else(|| panic!("issue {issue} exists"))
    }

    /// Container of an issue, and the issue as filters see it.
    pub(super) fn container_and_view(&self, site: &str, issue: u64) -> (u64, IssueView) {
        let site_data = &self.world.sites[site];
        let issue = &site_data.issues[&issue];
        let container = site_data.projects[&issue.project].container;
        (container, IssueView::of(site_data, issue))
    }

    /// An issue as webhooks show it; null in generated history, which sends no webhooks.
    pub(super) fn webhook_issue_json(&self, site: &str, issue: u64) -> Value {
        if !self.when.is_live {
            return Value::Null;
        }
        let site_data = &self.world.sites[site];
        self.world
            .issue_json(site_data, &site_data.issues[&issue], 2, false)
    }

    pub(super) fn create_issue(
        &mut self,
        site: &str,
        actor: &str,
        summary: Option<String>,
        project: Option<&str>,
    ) -> Result<ActionOutcome, &'static str> {
        let (id, at, number) = (
            self.world.number(),
            self.world.ms(self.when.at),
            self.world.number(),
        );
        let World { sites, rng, .. } = &mut *self.world;
        let site_data = sites.get_mut(site).ok_or("unknown account")?;
        let project = site_data
            .projects
            .values_mut()
            .filter(|candidate| project.is_none_or(|key| candidate.key == key))
            .choose(rng)
            .ok_or("unknown project")?;
        project.last_number += 1;
        let issue = Issue {
            id,
            key: format!("{}-{}", project.key, project.last_number),
            project: project.id.clone(),
            summary: summary.unwrap_or_else(|| format!("Valve {number} leaks")),
            status: 0,
            assignee: None,
            creator: actor.to_owned(),
            created: at,
            updated: at,
            histories: Vec::new(),
            comments: BTreeMap::new(),
            facts: Vec::new(),
        };
        site_data.issues.insert(id, issue);
        let (container, view) = self.container_and_view(site, id);
        let draft = FactDraft {
            kind: "issue_created",
            key: format!("issue:{id}:created"),
            at,
            container,
            pollable: true,
        };
        let body = json!({
            "timestamp": at, "webhookEvent": "jira:issue_created",
            "issue_event_type_name": "issue_created", "user": self.person(site, actor),
            "issue": self.webhook_issue_json(site, id),
        });
        let event = Event {
            issue: Some(view),
            triggered_by: Some(actor.to_owned()),
            ..Event::new("jira:issue_created", body)
        };
        let facts = self.emit(site, vec![draft], Some(event));
        self.issue(site, id).facts.clone_from(&facts);
        Ok(ActionOutcome {
            object: json!({ "id": id }),
            facts,
        })
    }

    pub(super) fn person(&self, site: &str, id: &str) -> Value {
        self.world.person_json(&self.world.sites[site], id)
    }

    fn transition(
        &mut self,
        params: &ActionParams,
        site: &str,
        issue: u64,
        actor: &str,
    ) -> Result<ActionOutcome, &'static str> {
        let before = self.issue(site, issue).status;
        let requested = params
            .to
            .as_ref()
            .and_then(|name| STATUSES.iter().position(|(_, status, _)| status == name));
        let number = usize::try_from(self.world.number()).unwrap_or(0);
        let after =
            requested.unwrap_or((before + 1 + number % (STATUSES.len() - 1)) % STATUSES.len());
        if after == before {
            return Err("the issue already has this status");
        }
        self.issue(site, issue).status = after;
        let end = |at: usize| Some((STATUSES[at].0.to_owned(), STATUSES[at].1.to_owned()));
        let mut items = vec![Item {
            field: "status",
            from: end(before),
            to: end(after),
        }];
        // One change can be several facts.
        if let Some(assignee) = &params.assignee {
            items.push(self.assignment(site, issue, Some(assignee.clone()))?);
        }
        if STATUSES[after].2 == "done" && number.is_multiple_of(2) {
            items.push(Item {
                field: "resolution",
                from: None,
                to: Some(("10000".to_owned(), "Done".to_owned())),
            });
        }
        Ok(self.change(site, issue, actor, items))
    }

    fn assignment(
        &mut self,
        site: &str,
        issue: u64,
        to: Option<String>,
    ) -> Result<Item, &'static str> {
        let end = |tx: &Self, id: &Option<String>| {
            let id = id.clone()?;
            let name = tx.world.people.get(&id)?.name.clone();
            Some((id, name))
        };
        let before = self.issue(site, issue).assignee.clone();
        if before == to {
            return Err("the issue already has this assignee");
        }
        let item = Item {
            field: "assignee",
            from: end(self, &before),
            to: end(self, &to),
        };
        self.issue(site, issue).assignee = to;
        Ok(item)
    }

    /// Records a change: one fact for the status, one for the assignee, one for other fields.
    fn change(&mut self, site: &str, issue: u64, author: &str, items: Vec<Item>) -> ActionOutcome {
        let (id, at) = (self.world.number(), self.world.ms(self.when.at));
        let (container, view) = self.container_and_view(site, issue);
        let mut drafts = Vec::new();
        let mut fact = |kind: &'static str, part: &str| {
            drafts.push(FactDraft {
                kind,
                key: format!("issue:{issue}:history:{id}:{part}"),
                at,
                container,
                pollable: true,
            });
        };
        let is_done = |side: &Option<(String, String)>| {
            let id = side.as_ref().map(|(id, _)| id.as_str());
            STATUSES
                .iter()
                .any(|(status, _, category)| Some(*status) == id && *category == "done")
        };
        for item in &items {
            match item.field {
                "status" => fact(
                    match (is_done(&item.from), is_done(&item.to)) {
                        (false, true) => "issue_closed",
                        (true, false) => "issue_reopened",
                        _ => "issue_status_changed",
                    },
                    "status",
                ),
                "assignee" if item.to.is_some() => fact("issue_assigned", "assignee"),
                "assignee" => fact("issue_unassigned", "assignee"),
                _ => {}
            }
        }
        if items
            .iter()
            .any(|item| !matches!(item.field, "status" | "assignee"))
        {
            fact("issue_updated", "fields");
        }
        self.issue(site, issue).updated = at;
        let item_objects: Vec<Value> = items.iter().map(item_json).collect();
        let body = json!({
            "timestamp": at, "webhookEvent": "jira:issue_updated",
            "issue_event_type_name": "issue_generic", "user": self.person(site, author),
            "issue": self.webhook_issue_json(site, issue),
            "changelog": { "id": id.to_string(), "items": item_objects },
        });
        let event = Event {
            issue: Some(view),
            changed_fields: items.iter().map(|item| item.field).collect(),
            triggered_by: Some(author.to_owned()),
            ..Event::new("jira:issue_updated", body)
        };
        let facts = self.emit(site, drafts, Some(event));
        self.issue(site, issue).histories.push(History {
            id,
            author: author.to_owned(),
            at,
            items,
            facts: facts.clone(),
        });
        ActionOutcome {
            object: json!({ "id": issue, "history": id }),
            facts,
        }
    }

    fn move_issue(
        &mut self,
        params: &ActionParams,
        site: &str,
        issue: u64,
        actor: &str,
    ) -> Result<ActionOutcome, &'static str> {
        let from = self.issue(site, issue).project.clone();
        let site_data = self.site(site);
        let target = site_data.projects.values_mut().find(|project| {
            params
                .to
                .as_ref()
                .map_or(project.id != from, |key| *key == project.key)
        });
        let Some(target) = target else {
            return Err("no project to move to");
        };
        target.last_number += 1;
        let (id, key) = (
            target.id.clone(),
            format!("{}-{}", target.key, target.last_number),
        );
        let issue_state = self.issue(site, issue);
        let before = std::mem::replace(&mut issue_state.key, key.clone());
        issue_state.project = id;
        let item = Item {
            field: "Key",
            from: Some((String::new(), before)),
            to: Some((String::new(), key)),
        };
        Ok(self.change(site, issue, actor, vec![item]))
    }

    fn delete_issue(&mut self, site: &str, issue: u64, actor: &str) -> ActionOutcome {
        let at = self.world.ms(self.when.at);
        let (container, view) = self.container_and_view(site, issue);
        let issue_json = self.webhook_issue_json(site, issue);
        let comments: Vec<Comment> = self.issue(site, issue).comments.values().cloned().collect();
        let deleted = self.site(site).issues.remove(&issue);
        let hidden: Vec<u64> = deleted
            .iter()
            .flat_map(|issue| {
                let histories = issue
                    .histories
                    .iter()
                    .flat_map(|history| history.facts.clone());
                let comment_facts = issue
                    .comments
                    .values()
                    .flat_map(|comment| comment.fact.into_iter().chain(comment.edit_fact));
                issue
                    .facts
                    .clone()
                    .into_iter()
                    .chain(histories)
                    .chain(comment_facts)
            })
            .collect();
        let worklogs: Vec<u64> = self
            .site(site)
            .worklogs
            .values()
            .filter(|worklog| worklog.issue == issue)
            .map(|worklog| worklog.id)
            .collect();
        for id in worklogs {
            let deleted = self.site(site).worklogs.remove(&id);
            self.site(site).deleted_worklogs.push((id, at));
            let fact: Vec<u64> = deleted
                .and_then(|worklog| worklog.fact)
                .into_iter()
                .collect();
            self.service.core.ledger.hide(&fact);
        }
        self.service.core.ledger.hide(&hidden);
        let draft = FactDraft {
            kind: "issue_deleted",
            key: format!("issue:{issue}:deleted"),
            at,
            container,
            pollable: false,
        };
        let body = json!({
            "timestamp": at, "webhookEvent": "jira:issue_deleted",
            "user": self.person(site, actor), "issue": issue_json,
        });
        let event = Event {
            issue: Some(view.clone()),
            triggered_by: Some(actor.to_owned()),
            ..Event::new("jira:issue_deleted", body)
        };
        let mut facts = self.emit(site, vec![draft], Some(event));
        for comment in comments {
            // Jira sends these events as secondary.
            let deleted = DeletedComment {
                comment: &comment,
                issue_json: &issue_json,
                container,
                view: &view,
                is_secondary: true,
            };
            facts.extend(self.emit_comment_deleted(site, issue, &deleted));
        }
        ActionOutcome {
            object: json!({ "id": issue }),
            facts,
        }
    }
}
