//! Sprints, versions, projects.

use serde_json::json;

use super::{Act, Done, News, Stage, Told};
use crate::simulator::jira::render::{sprint_json, version_json};
use crate::simulator::jira::world::{Project, Sprint, Version};

impl Stage<'_> {
    pub(super) fn about_agile(
        &mut self,
        act: &Act,
        site: &str,
    ) -> Option<Result<Done, &'static str>> {
        Some(match act.action.as_str() {
            "sprint.created" => Ok(self.create_sprint(site)),
            "sprint.started" => Ok(self.move_sprint(site, "future", "active")),
            "sprint.closed" => Ok(self.move_sprint(site, "active", "closed")),
            "version.created" => Ok(self.create_version(site)),
            "version.released" => Ok(self.release_version(site)),
            "project.created" => Ok(self.create_project(site, act.to.clone())),
            _ => return None,
        })
    }

    fn create_sprint(&mut self, site: &str) -> Done {
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
        self.tell_sprint(site, id, "sprint_created", "created", at)
    }

    /// Starts or closes a sprint; where there is none to be, one is made first.
    fn move_sprint(&mut self, site: &str, from: &str, to: &'static str) -> Done {
        let known = self
            .site(site)
            .sprints
            .values()
            .find(|sprint| sprint.state == from);
        let id = if let Some(sprint) = known {
            sprint.id
        } else {
            let made = if from == "active" {
                self.move_sprint(site, "future", "active")
            } else {
                self.create_sprint(site)
            };
            made.object["id"].as_u64().unwrap_or_default()
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
            self.tell_sprint(site, id, "sprint_started", "started", at)
        } else {
            self.tell_sprint(site, id, "sprint_closed", "closed", at)
        }
    }

    fn tell_sprint(
        &mut self,
        site: &str,
        id: u64,
        event: &'static str,
        word: &str,
        at: i64,
    ) -> Done {
        let place = &self.world.sites[site];
        let told = Told {
            kind: event,
            key: format!("sprint:{id}:{word}"),
            at,
            container: place.container,
            pollable: true,
        };
        let body = json!({
            "timestamp": at, "webhookEvent": event,
            "sprint": sprint_json(place, &place.sprints[&id]),
        });
        let news = News::new(event, body);
        let facts = self.happen(site, vec![told], Some(news));
        if let Some(sprint) = self.site(site).sprints.get_mut(&id) {
            sprint.facts.extend(&facts);
        }
        Done {
            object: json!({ "id": id }),
            facts,
        }
    }

    fn create_version(&mut self, site: &str) -> Done {
        let (id, at) = (self.world.number(), self.world.ms(self.when.at));
        let Some(project) = self.site(site).projects.keys().next().cloned() else {
            return Done::default();
        };
        let version = Version {
            id,
            name: format!("1.{id}"),
            project,
            released: None,
            facts: Vec::new(),
        };
        self.site(site).versions.insert(id, version);
        self.tell_version(
            site,
            id,
            "jira:version_created",
            "version_created",
            "created",
            at,
        )
    }

    fn release_version(&mut self, site: &str) -> Done {
        let known = self
            .site(site)
            .versions
            .values()
            .find(|version| version.released.is_none());
        let id = match known.map(|version| version.id) {
            Some(id) => id,
            None => self.create_version(site).object["id"]
                .as_u64()
                .unwrap_or_default(),
        };
        let at = self.world.ms(self.when.at);
        if let Some(version) = self.site(site).versions.get_mut(&id) {
            version.released = Some(at);
        }
        self.tell_version(
            site,
            id,
            "jira:version_released",
            "version_released",
            "released",
            at,
        )
    }

    fn tell_version(
        &mut self,
        site: &str,
        id: u64,
        event: &'static str,
        kind: &'static str,
        word: &str,
        at: i64,
    ) -> Done {
        let place = &self.world.sites[site];
        let version = &place.versions[&id];
        let told = Told {
            kind,
            key: format!("version:{id}:{word}"),
            at,
            container: place.projects[&version.project].container,
            // When a version was created, the API does not say; as long as none was released
            // before an app looks back, all of them count.
            pollable: true,
        };
        let body = json!({
            "timestamp": at, "webhookEvent": event, "version": version_json(place, version),
        });
        let news = News::new(event, body);
        let facts = self.happen(site, vec![told], Some(news));
        if let Some(version) = self.site(site).versions.get_mut(&id) {
            version.facts.extend(&facts);
        }
        Done {
            object: json!({ "id": id }),
            facts,
        }
    }

    /// Another project: no filter of before names it.
    fn create_project(&mut self, site: &str, key: Option<String>) -> Done {
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
        Done {
            object: json!({ "id": id, "key": key }),
            facts: Vec::new(),
        }
    }
}
