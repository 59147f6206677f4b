//! Objects as the REST API and webhooks show them.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use super::jql::category_name;
use super::world::{
    Comment, History, Issue, Item, Project, STATUSES, Site, Sprint, Version, Worklog, World,
};

/// Changes that come with an issue, the newest of them; the others have to be asked for.
pub(crate) const CHANGES: usize = 100;

/// Categories of statuses: id, key, colour.
const CATEGORIES: [(u64, &str, &str); 3] = [
    (2, "new", "blue-gray"),
    (4, "indeterminate", "yellow"),
    (3, "done", "green"),
];

/// A time as Jira writes it: the offset has no colon.
pub(crate) fn time(ms: i64) -> String {
    let at: DateTime<Utc> = DateTime::from_timestamp_millis(ms).unwrap_or_default();
    at.format("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string()
}

/// A time as keys have it.
pub(crate) fn iso_ms(ms: i64) -> String {
    let at: DateTime<Utc> = DateTime::from_timestamp_millis(ms).unwrap_or_default();
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Text, as this version of the API shows it: a document from the third on.
fn body(text: &str, version: u8) -> Value {
    if version < 3 {
        return json!(text);
    }
    json!({ "type": "doc", "version": 1, "content": [
        { "type": "paragraph", "content": [{ "type": "text", "text": text }] },
    ] })
}

impl World {
    pub(crate) fn person_json(&self, site: &Site, id: &str) -> Value {
        let Some(person) = self.people.get(id) else {
            return Value::Null;
        };
        json!({
            "self": format!("{}/rest/api/2/user?accountId={id}", site.url),
            "accountId": id, "displayName": person.name, "active": true,
            "timeZone": person.zone.1, "accountType": "atlassian",
        })
    }

    /// An issue; `version` of the API, 2 in webhooks.
    pub(crate) fn issue_json(&self, site: &Site, issue: &Issue, version: u8, log: bool) -> Value {
        let mut object = json!({
            "id": issue.id.to_string(), "key": issue.key,
            "self": format!("{}/rest/api/{version}/issue/{}", site.url, issue.id),
            "fields": {
                "summary": issue.summary,
                "project": project_json(site, &site.projects[&issue.project]),
                "issuetype": issue_type_json(site),
                "priority": priority_json(site),
                "status": status_json(site, issue.status),
                "assignee": issue.assignee.as_ref().map(|id| self.person_json(site, id)),
                "reporter": self.person_json(site, &issue.creator),
                "creator": self.person_json(site, &issue.creator),
                "created": time(issue.created), "updated": time(issue.updated),
                "description": body("A description", version),
                "labels": [],
            },
        });
        if log {
            let histories: Vec<Value> = issue
                .histories
                .iter()
                .rev()
                .take(CHANGES)
                .map(|history| self.history_json(site, history))
                .collect();
            object["changelog"] = json!({
                "startAt": 0, "maxResults": histories.len(), "total": issue.histories.len(),
                "histories": histories,
            });
        }
        object
    }

    /// A change, as the REST API shows it.
    pub(crate) fn history_json(&self, site: &Site, history: &History) -> Value {
        let items: Vec<Value> = history.items.iter().map(item_json).collect();
        json!({
            "id": history.id.to_string(), "author": self.person_json(site, &history.author),
            "created": time(history.at), "items": items,
        })
    }

    pub(crate) fn comment_json(
        &self,
        site: &Site,
        issue: u64,
        comment: &Comment,
        version: u8,
    ) -> Value {
        json!({
            "self": format!("{}/rest/api/{version}/issue/{issue}/comment/{}", site.url, comment.id),
            "id": comment.id.to_string(),
            "author": self.person_json(site, &comment.author),
            "updateAuthor": self.person_json(site, &comment.editor),
            "body": body(&comment.body, version),
            "created": time(comment.created), "updated": time(comment.updated),
            "jsdPublic": true,
        })
    }

    pub(crate) fn worklog_json(&self, site: &Site, worklog: &Worklog) -> Value {
        json!({
            "self": format!("{}/rest/api/2/issue/{}/worklog/{}", site.url, worklog.issue, worklog.id),
            "id": worklog.id.to_string(), "issueId": worklog.issue.to_string(),
            "author": self.person_json(site, &worklog.author),
            "updateAuthor": self.person_json(site, &worklog.author),
            "created": time(worklog.created), "updated": time(worklog.created),
            "started": time(worklog.created), "timeSpent": "1h", "timeSpentSeconds": 3_600,
        })
    }

    /// The fields of an issue that a search asks for.
    pub(crate) fn searched(
        &self,
        site: &Site,
        issue: &Issue,
        fields: &[String],
        comments: usize,
        log: bool,
    ) -> Value {
        let mut whole = self.issue_json(site, issue, 3, log);
        let all = fields.iter().any(|field| field == "*all");
        let wants = |name: &str| all || fields.iter().any(|field| field == name);
        let mut kept = Map::new();
        if let Some(known) = whole["fields"].as_object() {
            kept.extend(
                known
                    .iter()
                    .filter(|(name, _)| wants(name))
                    .map(|(name, value)| (name.clone(), value.clone())),
            );
        }
        if wants("comment") {
            // The rest has to be asked for.
            let shown: Vec<Value> = issue
                .comments
                .values()
                .take(comments)
                .map(|comment| self.comment_json(site, issue.id, comment, 3))
                .collect();
            kept.insert(
                "comment".to_owned(),
                json!({ "comments": shown, "maxResults": shown.len(),
                        "total": issue.comments.len(), "startAt": 0 }),
            );
        }
        if kept.is_empty() && fields.iter().all(|field| field == "id") {
            return json!({ "id": issue.id.to_string() });
        }
        whole["fields"] = Value::Object(kept);
        whole
    }
}

pub(crate) fn project_json(site: &Site, project: &Project) -> Value {
    json!({
        "self": format!("{}/rest/api/3/project/{}", site.url, project.id),
        "id": project.id, "key": project.key, "name": project.name,
        "projectTypeKey": "software", "simplified": false,
    })
}

pub(crate) fn status_json(site: &Site, status: usize) -> Value {
    let (id, name, category) = STATUSES[status % STATUSES.len()];
    let at = CATEGORIES.iter().position(|(_, key, _)| *key == category);
    json!({
        "self": format!("{}/rest/api/3/status/{id}", site.url),
        "id": id, "name": name, "description": "",
        "iconUrl": format!("{}/images/icons/statuses/generic.png", site.url),
        "statusCategory": category_json(site, at.unwrap_or(0)),
    })
}

pub(crate) fn category_json(site: &Site, category: usize) -> Value {
    let (id, key, colour) = CATEGORIES[category % CATEGORIES.len()];
    json!({
        "self": format!("{}/rest/api/3/statuscategory/{id}", site.url),
        "id": id, "key": key, "name": category_name(key), "colorName": colour,
    })
}

pub(crate) fn issue_type_json(site: &Site) -> Value {
    json!({
        "self": format!("{}/rest/api/3/issuetype/10004", site.url),
        "id": "10004", "name": "Task", "subtask": false, "hierarchyLevel": 0,
        "description": "A small, distinct piece of work.", "avatarId": 10_318,
        "iconUrl": format!("{}/images/icons/issuetypes/task.svg", site.url),
    })
}

pub(crate) fn priority_json(site: &Site) -> Value {
    json!({
        "self": format!("{}/rest/api/3/priority/3", site.url), "id": "3", "name": "Medium",
        "iconUrl": format!("{}/images/icons/priorities/medium.svg", site.url),
        "statusColor": "#f79232", "description": "",
    })
}

pub(crate) fn item_json(item: &Item) -> Value {
    let part = |side: &Option<(String, String)>, second: bool| {
        side.as_ref()
            .map(|(id, text)| if second { text.clone() } else { id.clone() })
    };
    json!({
        "field": item.field, "fieldtype": "jira", "fieldId": item.field,
        "from": part(&item.from, false), "fromString": part(&item.from, true),
        "to": part(&item.to, false), "toString": part(&item.to, true),
    })
}

pub(crate) fn sprint_json(site: &Site, sprint: &Sprint) -> Value {
    let mut object = json!({
        "id": sprint.id, "self": format!("{}/rest/agile/1.0/sprint/{}", site.url, sprint.id),
        "state": sprint.state, "name": sprint.name, "originBoardId": site.board,
        "createdDate": iso_ms(sprint.created), "goal": "",
    });
    if let Some(start) = sprint.start {
        object["startDate"] = json!(iso_ms(start));
        object["endDate"] = json!(iso_ms(start + 14 * 24 * 3_600_000));
    }
    if let Some(complete) = sprint.complete {
        object["completeDate"] = json!(iso_ms(complete));
    }
    object
}

pub(crate) fn version_json(site: &Site, version: &Version) -> Value {
    let mut object = json!({
        "self": format!("{}/rest/api/3/version/{}", site.url, version.id),
        "id": version.id.to_string(), "name": version.name, "archived": false,
        "released": version.released.is_some(),
        "projectId": version.project.parse::<u64>().unwrap_or(0),
    });
    if let Some(released) = version.released {
        object["releaseDate"] = json!(iso_ms(released)[..10]);
    }
    object
}
