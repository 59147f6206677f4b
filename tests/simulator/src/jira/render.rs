//! Objects of the REST API and of webhooks.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use super::jql::category_name;
use super::world::{
    Comment, History, Issue, Item, Project, STATUSES, Site, Sprint, Version, Worklog, World,
};

/// Newest changes that an issue's `changelog` contains.
pub(crate) const MAX_CHANGELOG_ENTRIES: usize = 100;

/// Status categories: id, key and colour.
const CATEGORIES: [(u64, &str, &str); 3] = [
    (2, "new", "blue-gray"),
    (4, "indeterminate", "yellow"),
    (3, "done", "green"),
];

/// Formats a time as the REST API does: an offset without a colon.
pub(crate) fn time(ms: i64) -> String {
    let at: DateTime<Utc> = DateTime::from_timestamp_millis(ms).unwrap_or_default();
    at.format("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string()
}

/// Formats a time as dedupe keys contain it.
pub(crate) fn iso_ms(ms: i64) -> String {
    let at: DateTime<Utc> = DateTime::from_timestamp_millis(ms).unwrap_or_default();
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Rich text in a version of the API: a document from version 3 on.
fn rich_text(text: &str, version: u8) -> Value {
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

    /// An issue in a `version` of the API, which is 2 in webhooks.
    pub(crate) fn issue_json(
        &self,
        site: &Site,
        issue: &Issue,
        version: u8,
        with_changelog: bool,
    ) -> Value {
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
                "description": rich_text("A description", version),
                "labels": [],
            },
        });
        if with_changelog {
            let histories: Vec<Value> = issue
                .histories
                .iter()
                .rev()
                .take(MAX_CHANGELOG_ENTRIES)
                .map(|history| self.history_json(site, history))
                .collect();
            object["changelog"] = json!({
                "startAt": 0, "maxResults": histories.len(), "total": issue.histories.len(),
                "histories": histories,
            });
        }
        object
    }

    /// A change of an issue.
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
            "body": rich_text(&comment.body, version),
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

    /// An issue with the fields that a search requests.
    pub(crate) fn search_result_json(
        &self,
        site: &Site,
        issue: &Issue,
        fields: &[String],
        comments: usize,
        with_changelog: bool,
    ) -> Value {
        let mut object = self.issue_json(site, issue, 3, with_changelog);
        let all = fields.iter().any(|field| field == "*all");
        let is_requested = |name: &str| all || fields.iter().any(|field| field == name);
        let mut selected = Map::new();
        if let Some(all_fields) = object["fields"].as_object() {
            selected.extend(
                all_fields
                    .iter()
                    .filter(|(name, _)| is_requested(name))
                    .map(|(name, value)| (name.clone(), value.clone())),
            );
        }
        if is_requested("comment") {
            let first_comments: Vec<Value> = issue
                .comments
                .values()
                .take(comments)
                .map(|comment| self.comment_json(site, issue.id, comment, 3))
                .collect();
            selected.insert(
                "comment".to_owned(),
                json!({ "comments": first_comments, "maxResults": first_comments.len(),
                        "total": issue.comments.len(), "startAt": 0 }),
            );
        }
        if selected.is_empty() && fields.iter().all(|field| field == "id") {
            return json!({ "id": issue.id.to_string() });
        }
        object["fields"] = Value::Object(selected);
        object
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
    let part = |side: &Option<(String, String)>, is_text: bool| {
        side.as_ref()
            .map(|(id, text)| if is_text { text.clone() } else { id.clone() })
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
