//! Sprints, versions and projects.

use serde_json::json;

use super::{ActionOutcome, ActionParams, Event, FactDraft, Transaction};
use crate::jira::render::{sprint_json, version_json};
use crate::jira::world::{Project, Sprint, Version};

impl Transaction<'_> {
    pub(super) fn perform_on_agile(
        &mut self,
        params: &ActionParams,
        site: &str,
    ) -> Option<Result<ActionOutcome, &'static str>> {
        Some(match params.action.as_str() {
            "sprint.created" => Ok(self.create_sprint(site)),
            "sprint.started" => Ok(self.move_sprint(site, "future", "active")),
            "sprint.closed" => Ok(self.move_sprint(site, "active", "closed")),
            "version.created" => Ok(self.create_version(site)),
            "version.released" => Ok(self.release_version(site)),
            "project.created" => Ok(self.create_project(site, params.to.clone())),
            _ => return None,
        })
    }

    fn create_sprint(&mut self, site: &str) -> ActionOutcome {
        let (id, at) = (self.world.number(), self.world.ms(self.when.at));
        let sprint = Sprint {
            id,
            name: format!("Sprint {id}"),
            state: "future",
            created: at,
            start: None,
            complete: None,
            facts: Vec::new(),
        };
        self.site(site).sprints.insert(id, sprint);
        self.emit_sprint_event(site, id, "sprint_created", "created", at)
    }

    /// Starts or closes a sprint. Creates the sprint if none is in the state `from`.
    fn move_sprint(&mut self, site: &str, from: &str, to: &'static str) -> ActionOutcome {
        let existing = self
            .site(site)
            .sprints
            .values()
            .find(|sprint| sprint.state == from);
        let id = if let Some(sprint) = existing {
            sprint.id
        } else {
            let outcome = if from == "active" {
                self.move_sprint(site, "future", "active")
            } else {
                self.create_sprint(site)
            };
            outcome.object["id"].as_u64().unwrap_or_default()
        };
        let at = self.world.ms(self.when.at);
        if let Some(sprint) = self.site(site).sprints.get_mut(&id) {
            sprint.state = to;
            if to == "active" {
                sprint.start = Some(at);
            } else {
                sprint.complete = Some(at);
            }
        }
        if to == "active" {
            self.emit_sprint_event(site, id, "sprint_started", "started", at)
        } else {
            self.emit_sprint_event(site, id, "sprint_closed", "closed", at)
        }
    }

    fn emit_sprint_event(
        &mut self,
        site: &str,
        id: u64,
        event_name: &'static str,
        suffix: &str,
        at: i64,
    ) -> ActionOutcome {
        let site_data = &self.world.sites[site];
        let draft = FactDraft {
            kind: event_name,
            key: format!("sprint:{id}:{suffix}"),
            at,
            container: site_data.container,
            pollable: true,
        };
        let body = json!({
            "timestamp": at, "webhookEvent": event_name,
            "sprint": sprint_json(site_data, &site_data.sprints[&id]),
        });
        let event = Event::new(event_name, body);
        let facts = self.emit(site, vec![draft], Some(event));
        if let Some(sprint) = self.site(site).sprints.get_mut(&id) {
            sprint.facts.extend(&facts);
        }
        ActionOutcome {
            object: json!({ "id": id }),
            facts,
        }
    }

    fn create_version(&mut self, site: &str) -> ActionOutcome {
        let (id, at) = (self.world.number(), self.world.ms(self.when.at));
        let Some(project) = self.site(site).projects.keys().next().cloned() else {
            return ActionOutcome::default();
        };
        let version = Version {
            id,
            name: format!("1.{id}"),
            project,
            released: None,
            facts: Vec::new(),
        };
        self.site(site).versions.insert(id, version);
        self.emit_version_event(
            site,
            id,
            "jira:version_created",
            "version_created",
            "created",
            at,
        )
    }

    fn release_version(&mut self, site: &str) -> ActionOutcome {
        let existing = self
            .site(site)
            .versions
            .values()
            .find(|version| version.released.is_none());
        let id = match existing.map(|version| version.id) {
            Some(id) => id,
            None => self.create_version(site).object["id"]
                .as_u64()
                .unwrap_or_default(),
        };
        let at = self.world.ms(self.when.at);
        if let Some(version) = self.site(site).versions.get_mut(&id) {
            version.released = Some(at);
        }
        self.emit_version_event(
            site,
            id,
            "jira:version_released",
            "version_released",
            "released",
            at,
        )
    }

    fn emit_version_event(
        &mut self,
        site: &str,
        id: u64,
        event_name: &'static str,
        kind: &'static str,
        suffix: &str,
        at: i64,
    ) -> ActionOutcome {
        let site_data = &self.world.sites[site];
        let version = &site_data.versions[&id];
        let draft = FactDraft {
            kind,
            key: format!("version:{id}:{suffix}"),
            at,
            container: site_data.projects[&version.project].container,
            // The API has no creation time of versions. All versions count as facts, provided that
            // none was released before the start of the backfill.
            pollable: true,
        };
        let body = json!({
            "timestamp": at, "webhookEvent": event_name, "version": version_json(site_data, version),
        });
        let event = Event::new(event_name, body);
        let facts = self.emit(site, vec![draft], Some(event));
        if let Some(version) = self.site(site).versions.get_mut(&id) {
            version.facts.extend(&facts);
        }
        ActionOutcome {
            object: json!({ "id": id }),
            facts,
        }
    }

    /// Creates a project, which no existing webhook filter contains.
    fn create_project(&mut self, site: &str, key: Option<String>) -> ActionOutcome {
        let (id, container) = (self.world.number(), self.world.container());
        let key = key.unwrap_or_else(|| format!("NEW{id}"));
        let project = Project {
            id: id.to_string(),
            name: format!("Project {key}"),
            key: key.clone(),
            last_number: 0,
            container,
        };
        self.site(site).projects.insert(id.to_string(), project);
        ActionOutcome {
            object: json!({ "id": id, "key": key }),
            facts: Vec::new(),
        }
    }
}
