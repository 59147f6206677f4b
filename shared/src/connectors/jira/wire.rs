//! Types of Jira's JSON, for webhooks (API version 2) and the REST API (version 3).
//!
//! Deserialization is lenient: a field that is not of the documented form counts as missing.
//! `normalize` checks the fields that a Signal requires.

mod document;
mod timestamp;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use url::Url;

pub(super) use document::to_plain_text;
pub(super) use timestamp::Timestamp;

use crate::connectors::wire::{Json, id, lenient, or_default, read_json, text};
pub(super) use crate::connectors::wire::{WireError, read, rows};

/// A webhook's body.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Payload<'a> {
    #[serde(rename = "webhookEvent", default, deserialize_with = "text")]
    pub(super) event: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) timestamp: Option<i64>,
    #[serde(rename = "matchedWebhookIds", default, deserialize_with = "lenient")]
    pub(super) matched: Option<Vec<u64>>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) user: Option<User>,
    #[serde(borrow, default)]
    pub(super) issue: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) changelog: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) comment: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) worklog: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) sprint: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) version: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) project: Option<&'a RawValue>,
}

impl<'a> Payload<'a> {
    /// Deserializes a body.
    pub(super) fn parse(body: &'a Json<&[u8]>) -> Result<Self, WireError> {
        if !body.is_object() {
            return Err(WireError::NotAnObject);
        }
        body.read().map_err(|_| WireError::NotAnObject)
    }

    /// The URL of the delivery's object, of any type.
    pub(super) fn object_url(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Own {
            #[serde(rename = "self", default, deserialize_with = "text")]
            url: Option<String>,
        }
        let objects = [
            self.issue,
            self.comment,
            self.sprint,
            self.version,
            self.worklog,
            self.project,
        ];
        let own = objects
            .into_iter()
            .flatten()
            .find_map(|raw| read_json::<Own>(raw.get()).ok()?.url);
        own.or_else(|| self.user.as_ref()?.url.clone())
    }
}

/// A user or an app. Jira Server has no `accountId`.
#[derive(Debug, Default, Clone, Deserialize)]
pub(super) struct User {
    #[serde(rename = "self", default, deserialize_with = "text")]
    pub(super) url: Option<String>,
    #[serde(rename = "accountId", default, deserialize_with = "text")]
    pub(super) account_id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) key: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) name: Option<String>,
    #[serde(rename = "displayName", default, deserialize_with = "text")]
    pub(super) display_name: Option<String>,
    #[serde(rename = "accountType", default, deserialize_with = "text")]
    pub(super) account_type: Option<String>,
}

/// An issue.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Issue {
    #[serde(default, deserialize_with = "id")]
    pub(super) id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) key: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) fields: Option<Fields>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) changelog: Option<Changelogs>,
}

/// Fields of an issue.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Fields {
    #[serde(default, deserialize_with = "text")]
    pub(super) summary: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) project: Option<Project>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) issuetype: Option<Named>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) status: Option<Status>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) creator: Option<User>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) reporter: Option<User>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) created: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) updated: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) comment: Option<Comments>,
}

/// Object with a name.
#[derive(Debug, Deserialize)]
pub(super) struct Named {
    #[serde(default, deserialize_with = "text")]
    pub(super) name: Option<String>,
}

/// A project.
#[derive(Debug, Default, Clone, Deserialize)]
pub(super) struct Project {
    #[serde(default, deserialize_with = "id")]
    pub(super) id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) key: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) name: Option<String>,
    /// The product that it belongs to: `software`, `business` or `service_desk`.
    #[serde(rename = "projectTypeKey", default, deserialize_with = "text")]
    pub(super) product: Option<String>,
}

/// A status of a workflow.
#[derive(Debug, Deserialize)]
pub(super) struct Status {
    #[serde(default, deserialize_with = "id")]
    pub(super) id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) name: Option<String>,
    #[serde(rename = "statusCategory", default, deserialize_with = "lenient")]
    pub(super) category: Option<Category>,
}

/// Category of a status: `new`, `indeterminate` or `done`.
#[derive(Debug, Deserialize)]
pub(super) struct Category {
    #[serde(default, deserialize_with = "text")]
    pub(super) key: Option<String>,
}

/// Changes in an issue's row, which may be the first of many.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Changelogs {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) total: usize,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) histories: Vec<Box<RawValue>>,
}

/// Page of the list of an issue's changes.
#[derive(Debug, Deserialize)]
pub(super) struct ChangelogPage {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) total: usize,
    pub(super) values: Vec<Box<RawValue>>,
}

/// One change of an issue.
#[derive(Debug, Deserialize)]
pub(super) struct Changelog {
    #[serde(default, deserialize_with = "id")]
    pub(super) id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) author: Option<User>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) created: Option<Timestamp>,
    #[serde(default, deserialize_with = "rows")]
    pub(super) items: Vec<Item>,
}

/// One field of a change.
#[derive(Debug, Default, Clone, Deserialize)]
pub(super) struct Item {
    /// The displayed name, which depends on the language.
    #[serde(default, deserialize_with = "text")]
    pub(super) field: Option<String>,
    /// The stable id; some items do not have it.
    #[serde(rename = "fieldId", default, deserialize_with = "text")]
    pub(super) field_id: Option<String>,
    #[serde(rename = "fieldtype", default, deserialize_with = "text")]
    pub(super) field_type: Option<String>,
    #[serde(default, deserialize_with = "id")]
    pub(super) from: Option<String>,
    #[serde(rename = "fromString", default, deserialize_with = "text")]
    pub(super) from_string: Option<String>,
    #[serde(default, deserialize_with = "id")]
    pub(super) to: Option<String>,
    #[serde(rename = "toString", default, deserialize_with = "text")]
    pub(super) to_string: Option<String>,
}

impl Item {
    /// Whether the item changes this system field; a custom field may have the same name.
    pub(super) fn is_of(&self, field: &str) -> bool {
        match self.field_id.as_deref() {
            Some(id) => id == field,
            None => {
                self.field.as_deref() == Some(field) && self.field_type.as_deref() != Some("custom")
            }
        }
    }
}

/// Comments in an issue's row, which may be the first of many.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Comments {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) total: usize,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) comments: Vec<Box<RawValue>>,
}

/// Page of the list of an issue's comments.
#[derive(Debug, Deserialize)]
pub(super) struct CommentPage {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) total: usize,
    pub(super) comments: Vec<Box<RawValue>>,
}

/// A comment.
#[derive(Debug, Deserialize)]
pub(super) struct Comment {
    #[serde(rename = "self", default, deserialize_with = "text")]
    pub(super) url: Option<String>,
    #[serde(default, deserialize_with = "id")]
    pub(super) id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) author: Option<User>,
    #[serde(rename = "updateAuthor", default, deserialize_with = "lenient")]
    pub(super) update_author: Option<User>,
    /// Wiki markup in webhooks, a document in the REST API.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) body: Value,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) created: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) updated: Option<Timestamp>,
}

/// Time logged on an issue.
#[derive(Debug, Deserialize)]
pub(super) struct Worklog {
    #[serde(rename = "self", default, deserialize_with = "text")]
    pub(super) url: Option<String>,
    #[serde(default, deserialize_with = "id")]
    pub(super) id: Option<String>,
    #[serde(rename = "issueId", default, deserialize_with = "id")]
    pub(super) issue_id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) author: Option<User>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) created: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) started: Option<Timestamp>,
    #[serde(rename = "timeSpentSeconds", default, deserialize_with = "lenient")]
    pub(super) seconds: Option<u64>,
}

/// The issue's id in an object's URL, such as `…/issue/{id}/comment/{id}`.
pub(super) fn issue_id_from_url(url: Option<&str>) -> Option<String> {
    let url = Url::parse(url?).ok()?;
    let mut segments = url.path_segments()?;
    segments.find(|segment| *segment == "issue")?;
    let id = segments.next()?;
    let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
    is_id.then(|| id.to_owned())
}

/// A sprint.
#[derive(Debug, Deserialize)]
pub(super) struct Sprint {
    #[serde(default, deserialize_with = "id")]
    pub(super) id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) name: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) state: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) goal: Option<String>,
    #[serde(rename = "createdDate", default, deserialize_with = "lenient")]
    pub(super) created: Option<Timestamp>,
    #[serde(rename = "startDate", default, deserialize_with = "lenient")]
    pub(super) start: Option<Timestamp>,
    #[serde(rename = "completeDate", default, deserialize_with = "lenient")]
    pub(super) complete: Option<Timestamp>,
    #[serde(rename = "originBoardId", default, deserialize_with = "id")]
    pub(super) board: Option<String>,
}

/// A version of a project.
#[derive(Debug, Deserialize)]
pub(super) struct Version {
    #[serde(default, deserialize_with = "id")]
    pub(super) id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) name: Option<String>,
    #[serde(rename = "projectId", default, deserialize_with = "id")]
    pub(super) project: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) released: Option<bool>,
    /// A date without a time.
    #[serde(rename = "releaseDate", default, deserialize_with = "text")]
    pub(super) release_date: Option<String>,
}
