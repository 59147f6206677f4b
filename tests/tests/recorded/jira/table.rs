//! Expected outcomes of Jira's deliveries by the Signal catalogue's table, and their sites.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;
use url::Url;

use crate::expectation::Expected;

/// Whether a status is in the category "done", by name.
#[derive(Default)]
pub(super) struct Statuses(BTreeMap<String, bool>);

impl Statuses {
    /// Adds all statuses in a JSON value.
    pub(super) fn collect(&mut self, value: &Value) {
        if let (Some(name), Some(category)) =
            (text(&value["name"]), text(&value["statusCategory"]["key"]))
        {
            self.0.entry(name.to_owned()).or_insert(category == "done");
        }
        match value {
            Value::Object(fields) => fields.values().for_each(|value| self.collect(value)),
            Value::Array(rows) => rows.iter().for_each(|value| self.collect(value)),
            _ => {}
        }
    }

    /// Statuses in these changes, by id.
    pub(super) fn of_changes<'v>(&self, changes: impl IntoIterator<Item = &'v Value>) -> Site {
        let mut site = Site::default();
        let items = changes
            .into_iter()
            .filter_map(|change| change["items"].as_array());
        for item in items.flatten().filter(|item| is_of(item, "status")) {
            for (side, name) in [("from", "fromString"), ("to", "toString")] {
                let name = item[name].as_str().unwrap_or_default();
                if let (Some(id), Some(done)) = (id(&item[side]), self.0.get(name)) {
                    site.0.entry(id).or_insert(*done);
                }
            }
        }
        site
    }
}

/// Whether a site's status is in the category "done", by id.
#[derive(Default)]
pub(super) struct Site(pub(super) BTreeMap<String, bool>);

impl Site {
    fn is_done(&self, status: &Value) -> Option<bool> {
        self.0.get(&id(status)?).copied()
    }
}

/// Non-empty text.
pub(super) fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

/// An id: text or a number.
pub(super) fn id(value: &Value) -> Option<String> {
    let text = text(value).map(str::to_owned);
    text.or_else(|| value.as_u64().map(|number| number.to_string()))
}

/// Time as in dedupe keys.
pub(super) fn timestamp(value: &Value) -> Option<DateTime<Utc>> {
    let text = value.as_str()?;
    let offset = text.len().checked_sub(5)?;
    // Jira's offsets lack the colon.
    let with_colon = match text.get(offset..offset + 1) {
        Some("+" | "-") => format!("{}:{}", &text[..offset + 3], &text[offset + 3..]),
        _ => text.to_owned(),
    };
    let at = DateTime::parse_from_rfc3339(&with_colon).ok()?;
    Some(at.with_timezone(&Utc))
}

/// Kinds and dedupe keys of facts, or the missing field.
pub(super) type Facts = Result<Vec<(&'static str, String)>, &'static str>;

/// Expected outcome of a delivery.
pub(super) fn expected_outcome(payload: &Value, site: &Site) -> Expected {
    let single = |kind, object: &str, field, suffix: &str| {
        let id = id(&payload[object]["id"]).ok_or(field)?;
        Ok(vec![(kind, format!("{object}:{id}:{suffix}"))])
    };
    let facts = match text(&payload["webhookEvent"]).unwrap_or_default() {
        "jira:issue_created" => single("issue_created", "issue", "issue.id", "created"),
        "jira:issue_deleted" => single("issue_deleted", "issue", "issue.id", "deleted"),
        "jira:issue_updated" => {
            let change = &payload["changelog"];
            if change.is_null() {
                return Expected::Nothing("the update is only a comment");
            }
            if change["items"].as_array().is_none_or(Vec::is_empty) {
                return Expected::Nothing("no change");
            }
            changed(&payload["issue"], change, site)
        }
        "comment_created" => single("issue_commented", "comment", "comment.id", "created"),
        "comment_updated" => edited(&payload["comment"]),
        "comment_deleted" => single("comment_deleted", "comment", "comment.id", "deleted"),
        "worklog_created" => single("work_logged", "worklog", "worklog.id", "created"),
        "sprint_created" => single("sprint_created", "sprint", "sprint.id", "created"),
        "sprint_started" => single("sprint_started", "sprint", "sprint.id", "started"),
        "sprint_closed" => single("sprint_closed", "sprint", "sprint.id", "closed"),
        "jira:version_created" => single("version_created", "version", "version.id", "created"),
        "jira:version_released" => single("version_released", "version", "version.id", "released"),
        "" => return Expected::Nothing("no event name"),
        _ => return Expected::Nothing("no kind in the catalogue"),
    };
    facts.map_or_else(Expected::MissingField, Expected::Signals)
}

/// Facts of a change of an issue.
pub(super) fn changed(issue: &Value, change: &Value, site: &Site) -> Facts {
    let history = id(&change["id"]).ok_or("changelog.id")?;
    let current = &issue["fields"]["status"];
    let issue = id(&issue["id"]).ok_or("issue.id")?;
    // The category in the payload has precedence over the site's statuses.
    let is_done = |status: &Value| match text(&current["statusCategory"]["key"]) {
        Some(category) if id(&current["id"]).is_some() && id(&current["id"]) == id(status) => {
            Some(category == "done")
        }
        _ => site.is_done(status),
    };
    let mut facts = BTreeMap::new();
    for item in change["items"].as_array().into_iter().flatten() {
        if is_of(item, "status") {
            let kind = match (is_done(&item["from"]), is_done(&item["to"])) {
                (Some(false), Some(true)) => "issue_closed",
                (Some(true), Some(false)) => "issue_reopened",
                _ => "issue_status_changed",
            };
            facts.insert("status", kind);
        } else if is_of(item, "assignee") {
            let is_assigned = id(&item["to"]).is_some();
            let kind = if is_assigned {
                "issue_assigned"
            } else {
                "issue_unassigned"
            };
            facts.insert("assignee", kind);
        } else {
            facts.insert("fields", "issue_updated");
        }
    }
    let key = |part: &str| format!("issue:{issue}:history:{history}:{part}");
    Ok(facts
        .into_iter()
        .map(|(part, kind)| (kind, key(part)))
        .collect())
}

/// Whether an item is a change of this built-in field, not of a custom field.
fn is_of(item: &Value, field: &str) -> bool {
    match text(&item["fieldId"]) {
        Some(id) => id == field,
        None => item["field"] == field && item["fieldtype"] != "custom",
    }
}

/// Fact of a comment's edit.
pub(super) fn edited(comment: &Value) -> Facts {
    let id = id(&comment["id"]).ok_or("comment.id")?;
    let at = timestamp(&comment["updated"]).ok_or("comment.updated")?;
    let at = at.to_rfc3339_opts(SecondsFormat::Millis, true);
    Ok(vec![(
        "comment_edited",
        format!("comment:{id}:edited:{at}"),
    )])
}

/// URL of a delivery's site, from the URL of its object.
pub(super) fn origin(payload: &Value) -> Option<String> {
    let objects = [
        "issue", "comment", "sprint", "version", "worklog", "project", "user",
    ];
    let object_url = objects
        .iter()
        .find_map(|object| text(&payload[object]["self"]))?;
    Some(Url::parse(object_url).ok()?.origin().ascii_serialization())
}

/// Origin of a payload that is not of today's Jira Cloud.
pub(super) fn foreign(payload: &Value) -> Option<&'static str> {
    // Atlassian removed usernames from Cloud's API on this day.
    let removal = "2019-04-29T00:00:00Z"
        .parse::<DateTime<Utc>>()
        .expect("a time");
    let at = payload["timestamp"]
        .as_i64()
        .and_then(DateTime::from_timestamp_millis);
    let site = origin(payload).unwrap_or_default();
    if !site.is_empty() && !site.ends_with(".atlassian.net") {
        Some("Jira Server")
    } else if at.is_some_and(|at| at < removal) {
        Some("Jira Cloud before account ids")
    } else if payload["user"].is_object() && text(&payload["user"]["accountId"]).is_none() {
        Some("user without an account id")
    } else {
        None
    }
}
