//! The catalogue's table for Jira: what a delivery must give, and whose it is.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;
use url::Url;

use crate::must::Must;

/// What statuses mean, by name: whether the work is done.
#[derive(Default)]
pub(super) struct Statuses(BTreeMap<String, bool>);

impl Statuses {
    /// Learns from every status that is described anywhere in there.
    pub(super) fn learn(&mut self, value: &Value) {
        if let (Some(name), Some(category)) =
            (text(&value["name"]), text(&value["statusCategory"]["key"]))
        {
            self.0.entry(name.to_owned()).or_insert(category == "done");
        }
        match value {
            Value::Object(fields) => fields.values().for_each(|value| self.learn(value)),
            Value::Array(rows) => rows.iter().for_each(|value| self.learn(value)),
            _ => {}
        }
    }

    /// The statuses between which these changes move issues.
    pub(super) fn of_changes<'v>(&self, changes: impl IntoIterator<Item = &'v Value>) -> Site {
        let mut site = Site::default();
        let items = changes
            .into_iter()
            .filter_map(|change| change["items"].as_array());
        for item in items.flatten().filter(|item| is_of(item, "status")) {
            for (end, name) in [("from", "fromString"), ("to", "toString")] {
                let name = item[name].as_str().unwrap_or_default();
                if let (Some(id), Some(done)) = (id(&item[end]), self.0.get(name)) {
                    site.0.entry(id).or_insert(*done);
                }
            }
        }
        site
    }
}

/// A site's statuses, by id: whether the work is done. One that is not here is unknown there.
#[derive(Default)]
pub(super) struct Site(pub(super) BTreeMap<String, bool>);

impl Site {
    fn done(&self, status: &Value) -> Option<bool> {
        self.0.get(&id(status)?).copied()
    }
}

/// Text that says something.
pub(super) fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

/// An id: text or a number.
pub(super) fn id(value: &Value) -> Option<String> {
    let text = text(value).map(str::to_owned);
    text.or_else(|| value.as_u64().map(|number| number.to_string()))
}

/// A point in time as keys have it.
pub(super) fn moment(value: &Value) -> Option<DateTime<Utc>> {
    let text = value.as_str()?;
    let offset = text.len().checked_sub(5)?;
    // Jira leaves the colon out of the offset.
    let colon = match text.get(offset..offset + 1) {
        Some("+" | "-") => format!("{}:{}", &text[..offset + 3], &text[offset + 3..]),
        _ => text.to_owned(),
    };
    let at = DateTime::parse_from_rfc3339(&colon).ok()?;
    Some(at.with_timezone(&Utc))
}

/// Facts, or what is missing to identify them.
pub(super) type Facts = Result<Vec<(&'static str, String)>, &'static str>;

/// What a delivery must give, by the catalogue's table.
pub(super) fn must(payload: &Value, site: &Site) -> Must {
    let one = |kind, object: &str, field, word: &str| {
        let id = id(&payload[object]["id"]).ok_or(field)?;
        Ok(vec![(kind, format!("{object}:{id}:{word}"))])
    };
    let facts = match text(&payload["webhookEvent"]).unwrap_or_default() {
        "jira:issue_created" => one("issue_created", "issue", "issue.id", "created"),
        "jira:issue_deleted" => one("issue_deleted", "issue", "issue.id", "deleted"),
        "jira:issue_updated" => {
            let change = &payload["changelog"];
            if change.is_null() {
                return Must::BeSilent("it only announces a comment");
            }
            if change["items"].as_array().is_none_or(Vec::is_empty) {
                return Must::BeSilent("nothing was changed");
            }
            changed(&payload["issue"], change, site)
        }
        "comment_created" => one("issue_commented", "comment", "comment.id", "created"),
        "comment_updated" => edited(&payload["comment"]),
        "comment_deleted" => one("comment_deleted", "comment", "comment.id", "deleted"),
        "worklog_created" => one("work_logged", "worklog", "worklog.id", "created"),
        "sprint_created" => one("sprint_created", "sprint", "sprint.id", "created"),
        "sprint_started" => one("sprint_started", "sprint", "sprint.id", "started"),
        "sprint_closed" => one("sprint_closed", "sprint", "sprint.id", "closed"),
        "jira:version_created" => one("version_created", "version", "version.id", "created"),
        "jira:version_released" => one("version_released", "version", "version.id", "released"),
        "" => return Must::BeSilent("no event is named"),
        _ => return Must::BeSilent("no kind in the catalogue"),
    };
    facts.map_or_else(Must::BeRefused, Must::Tell)
}

/// The facts of a change of an issue.
pub(super) fn changed(issue: &Value, change: &Value, site: &Site) -> Facts {
    let history = id(&change["id"]).ok_or("changelog.id")?;
    let shown = &issue["fields"]["status"];
    let issue = id(&issue["id"]).ok_or("issue.id")?;
    // The payload's own word comes before the site's list.
    let done = |status: &Value| match text(&shown["statusCategory"]["key"]) {
        Some(category) if id(&shown["id"]).is_some() && id(&shown["id"]) == id(status) => {
            Some(category == "done")
        }
        _ => site.done(status),
    };
    let mut facts = BTreeMap::new();
    for item in change["items"].as_array().into_iter().flatten() {
        if is_of(item, "status") {
            let kind = match (done(&item["from"]), done(&item["to"])) {
                (Some(false), Some(true)) => "issue_closed",
                (Some(true), Some(false)) => "issue_reopened",
                _ => "issue_status_changed",
            };
            facts.insert("status", kind);
        } else if is_of(item, "assignee") {
            let set = id(&item["to"]).is_some();
            let kind = if set {
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

/// Whether an item is about this field of Jira's own, and not one that somebody made.
fn is_of(item: &Value, field: &str) -> bool {
    match text(&item["fieldId"]) {
        Some(id) => id == field,
        None => item["field"] == field && item["fieldtype"] != "custom",
    }
}

/// The fact that a comment was edited.
pub(super) fn edited(comment: &Value) -> Facts {
    let id = id(&comment["id"]).ok_or("comment.id")?;
    let at = moment(&comment["updated"]).ok_or("comment.updated")?;
    let at = at.to_rfc3339_opts(SecondsFormat::Millis, true);
    Ok(vec![(
        "comment_edited",
        format!("comment:{id}:edited:{at}"),
    )])
}

/// Where a delivery's site is: where its object lives.
pub(super) fn origin(payload: &Value) -> Option<String> {
    let objects = [
        "issue", "comment", "sprint", "version", "worklog", "project", "user",
    ];
    let own = objects
        .iter()
        .find_map(|object| text(&payload[object]["self"]))?;
    Some(Url::parse(own).ok()?.origin().ascii_serialization())
}

/// Why a payload is none of today's Jira Cloud.
pub(super) fn foreign(payload: &Value) -> Option<&'static str> {
    // The day on which Atlassian took usernames out of Cloud's API.
    let change = "2019-04-29T00:00:00Z"
        .parse::<DateTime<Utc>>()
        .expect("a time");
    let at = payload["timestamp"]
        .as_i64()
        .and_then(DateTime::from_timestamp_millis);
    let site = origin(payload).unwrap_or_default();
    if !site.is_empty() && !site.ends_with(".atlassian.net") {
        Some("of a server")
    } else if at.is_some_and(|at| at < change) {
        Some("of Cloud as it was")
    } else if payload["user"].is_object() && text(&payload["user"]["accountId"]).is_none() {
        Some("of nobody with an account")
    } else {
        None
    }
}
