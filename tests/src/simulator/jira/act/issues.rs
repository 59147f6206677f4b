//! Issues: created, changed, moved, deleted.

use std::collections::BTreeMap;

use rand::seq::IteratorRandom as _;
use serde_json::{Value, json};

use super::talk::Gone;
use super::{Act, Done, News, Stage, Told};
use crate::simulator::jira::jql::Sight;
use crate::simulator::jira::render::item_json;
use crate::simulator::jira::world::{Comment, History, Issue, Item, STATUSES, World};

impl Stage<'_> {
    pub(super) fn about_issue(
        &mut self,
        act: &Act,
        site: &str,
        issue: u64,
        actor: &str,
    ) -> Result<Done, &'static str> {
        let number = self.world.number();
        let text = act
            .text
            .clone()
            .unwrap_or_else(|| format!("Note {number}: the valve is tight"));
        match act.action.as_str() {
            "issue.transitioned" => self.transition(act, site, issue, actor),
            "issue.assigned" | "issue.unassigned" => {
                let to = match (act.action.as_str(), &act.assignee) {
                    ("issue.unassigned", _) => None,
                    (_, Some(who)) => Some(who.clone()),
                    _ => self.world.somebody(site),
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
            "issue.moved" => self.relocate(act, site, issue, actor),
            "issue.deleted" => Ok(self.delete_issue(site, issue, actor)),
            "comment.created" => Ok(self.comment(site, issue, actor, &text)),
            "comment.edited" => self.edit_comment(site, issue, actor, &text),
            "comment.deleted" => self.delete_comment(site, issue),
            "worklog.created" => Ok(self.log_work(site, issue, actor)),
            _ => Err("there is no such action"),
        }
    }

    pub(super) fn issue(&mut self, site: &str, issue: u64) -> &mut Issue {
        self.site(site)
            .issues
            .get_mut(&issue)
            .unwrap_or_else(|| panic!("the issue {issue} was looked up before"))
    }

    /// What decides whether polling can see an issue, and what filters see of it.
    pub(super) fn place(&self, site: &str, issue: u64) -> (u64, Sight) {
        let place = &self.world.sites[site];
        let issue = &place.issues[&issue];
        let container = place.projects[&issue.project].container;
        (container, Sight::of(place, issue))
    }

    /// An issue as webhooks show it; nothing of the past, which is told to nobody.
    pub(super) fn shown(&self, site: &str, issue: u64) -> Value {
        if !self.when.live {
            return Value::Null;
        }
        let place = &self.world.sites[site];
        self.world
            .issue_json(place, &place.issues[&issue], 2, false)
    }

    pub(super) fn create_issue(
        &mut self,
        site: &str,
        actor: &str,
        summary: Option<String>,
        project: Option<&str>,
    ) -> Result<Done, &'static str> {
        let (id, at, number) = (
            self.world.number(),
            self.world.ms(self.when.at),
            self.world.number(),
        );
        let World { sites, rng, .. } = &mut *self.world;
        let place = sites.get_mut(site).ok_or("there is no such account")?;
        let project = place
            .projects
            .values_mut()
            .filter(|one| project.is_none_or(|key| one.key == key))
            .choose(rng)
            .ok_or("there is no such project")?;
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
        place.issues.insert(id, issue);
        let (container, sight) = self.place(site, id);
        let told = Told {
            kind: "issue_created",
            key: format!("issue:{id}:created"),
            at,
            container,
            pollable: true,
        };
        let body = json!({
            "timestamp": at, "webhookEvent": "jira:issue_created",
            "issue_event_type_name": "issue_created", "user": self.person(site, actor),
            "issue": self.shown(site, id),
        });
        let news = News {
            about: Some(sight),
            by: Some(actor.to_owned()),
            ..News::new("jira:issue_created", body)
        };
        let facts = self.happen(site, vec![told], Some(news));
        self.issue(site, id).facts.clone_from(&facts);
        Ok(Done {
            object: json!({ "id": id }),
            facts,
        })
    }

    pub(super) fn person(&self, site: &str, id: &str) -> Value {
        self.world.person_json(&self.world.sites[site], id)
    }

    fn transition(
        &mut self,
        act: &Act,
        site: &str,
        issue: u64,
        actor: &str,
    ) -> Result<Done, &'static str> {
        let before = self.issue(site, issue).status;
        let named = act
            .to
            .as_ref()
            .and_then(|name| STATUSES.iter().position(|(_, known, _)| known == name));
        let number = usize::try_from(self.world.number()).unwrap_or(0);
        let after = named.unwrap_or((before + 1 + number % (STATUSES.len() - 1)) % STATUSES.len());
        if after == before {
            return Err("the issue has that status");
        }
        self.issue(site, issue).status = after;
        let end = |at: usize| Some((STATUSES[at].0.to_owned(), STATUSES[at].1.to_owned()));
        let mut items = vec![Item {
            field: "status",
            from: end(before),
            to: end(after),
        }];
        // One change may tell several facts.
        if let Some(who) = &act.assignee {
            items.push(self.assignment(site, issue, Some(who.clone()))?);
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
        let end = |stage: &Self, id: &Option<String>| {
            let id = id.clone()?;
            let name = stage.world.people.get(&id)?.name.clone();
            Some((id, name))
        };
        let before = self.issue(site, issue).assignee.clone();
        if before == to {
            return Err("that is so already");
        }
        let item = Item {
            field: "assignee",
            from: end(self, &before),
            to: end(self, &to),
        };
        self.issue(site, issue).assignee = to;
        Ok(item)
    }

    /// Writes a change down: a Signal for the status, one for the assignee, one for the rest.
    fn change(&mut self, site: &str, issue: u64, author: &str, items: Vec<Item>) -> Done {
        let (id, at) = (self.world.number(), self.world.ms(self.when.at));
        let (container, sight) = self.place(site, issue);
        let mut told = Vec::new();
        let mut fact = |kind: &'static str, part: &str| {
            told.push(Told {
                kind,
                key: format!("issue:{issue}:history:{id}:{part}"),
                at,
                container,
                pollable: true,
            });
        };
        let done = |side: &Option<(String, String)>| {
            let id = side.as_ref().map(|(id, _)| id.as_str());
            STATUSES
                .iter()
                .any(|(known, _, category)| Some(*known) == id && *category == "done")
        };
        for item in &items {
            match item.field {
                "status" => fact(
                    match (done(&item.from), done(&item.to)) {
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
        let changed: Vec<Value> = items.iter().map(item_json).collect();
        let body = json!({
            "timestamp": at, "webhookEvent": "jira:issue_updated",
            "issue_event_type_name": "issue_generic", "user": self.person(site, author),
            "issue": self.shown(site, issue),
            "changelog": { "id": id.to_string(), "items": changed },
        });
        let news = News {
            about: Some(sight),
            changed: items.iter().map(|item| item.field).collect(),
            by: Some(author.to_owned()),
            ..News::new("jira:issue_updated", body)
        };
        let facts = self.happen(site, told, Some(news));
        self.issue(site, issue).histories.push(History {
            id,
            author: author.to_owned(),
            at,
            items,
            facts: facts.clone(),
        });
        Done {
            object: json!({ "id": issue, "history": id }),
            facts,
        }
    }

    fn relocate(
        &mut self,
        act: &Act,
        site: &str,
        issue: u64,
        actor: &str,
    ) -> Result<Done, &'static str> {
        let from = self.issue(site, issue).project.clone();
        let place = self.site(site);
        let target = place.projects.values_mut().find(|project| {
            act.to
                .as_ref()
                .map_or(project.id != from, |key| *key == project.key)
        });
        let Some(target) = target else {
            return Err("there is no other project");
        };
        target.last_number += 1;
        let (id, key) = (
            target.id.clone(),
            format!("{}-{}", target.key, target.last_number),
        );
        let moved = self.issue(site, issue);
        let before = std::mem::replace(&mut moved.key, key.clone());
        moved.project = id;
        let item = Item {
            field: "Key",
            from: Some((String::new(), before)),
            to: Some((String::new(), key)),
        };
        Ok(self.change(site, issue, actor, vec![item]))
    }

    fn delete_issue(&mut self, site: &str, issue: u64, actor: &str) -> Done {
        let at = self.world.ms(self.when.at);
        let (container, sight) = self.place(site, issue);
        let shown = self.shown(site, issue);
        let comments: Vec<Comment> = self.issue(site, issue).comments.values().cloned().collect();
        let gone = self.site(site).issues.remove(&issue);
        let hidden: Vec<u64> = gone
            .iter()
            .flat_map(|issue| {
                let histories = issue
                    .histories
                    .iter()
                    .flat_map(|history| history.facts.clone());
                let talk = issue
                    .comments
                    .values()
                    .flat_map(|comment| comment.fact.into_iter().chain(comment.edit_fact));
                issue.facts.clone().into_iter().chain(histories).chain(talk)
            })
            .collect();
        let work: Vec<u64> = self
            .site(site)
            .worklogs
            .values()
            .filter(|worklog| worklog.issue == issue)
            .map(|worklog| worklog.id)
            .collect();
        for id in work {
            let gone = self.site(site).worklogs.remove(&id);
            self.site(site).deleted_worklogs.push((id, at));
            let fact: Vec<u64> = gone.and_then(|worklog| worklog.fact).into_iter().collect();
            self.hub.core.ledger.hide(&fact);
        }
        self.hub.core.ledger.hide(&hidden);
        let told = Told {
            kind: "issue_deleted",
            key: format!("issue:{issue}:deleted"),
            at,
            container,
            pollable: false,
        };
        let body = json!({
            "timestamp": at, "webhookEvent": "jira:issue_deleted",
            "user": self.person(site, actor), "issue": shown,
        });
        let news = News {
            about: Some(sight.clone()),
            by: Some(actor.to_owned()),
            ..News::new("jira:issue_deleted", body)
        };
        let mut facts = self.happen(site, vec![told], Some(news));
        for comment in comments {
            // They follow from the issue's end.
            let gone = Gone {
                comment: &comment,
                shown: &shown,
                container,
                sight: &sight,
                secondary: true,
            };
            facts.extend(self.comment_gone(site, issue, &gone));
        }
        Done {
            object: json!({ "id": issue }),
            facts,
        }
    }
}
