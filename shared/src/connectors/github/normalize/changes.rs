//! Updates of issues and pull requests: the changed part, and the identity of the change.

use serde_json::{Map, Value, json};

use super::{FactTime, NormalizeContext, digest, reviewer, user_json};
use crate::connectors::github::wire::{Part, Timestamp, User, WireError};

/// Actions that do not change the object's `updated_at`.
const UNDATED: [&str; 4] = ["pinned", "unpinned", "locked", "unlocked"];

/// A change, in the form that its Signal needs.
pub(super) struct Change {
    /// Last part of the dedupe key.
    ///
    /// Action, id of the changed part if any, time, and a digest of the edited texts.
    pub key: String,
    /// Time of the change.
    pub at: FactTime,
    /// Kind-specific fields.
    pub normalized: Value,
}

/// An issue or a pull request after the change.
pub(super) struct ChangedObject<'a> {
    pub number: Option<u64>,
    pub title: Option<&'a str>,
    pub body: Option<&'a str>,
    pub updated_at: Timestamp,
}

/// Reads the change of a delivery. GitHub sends one delivery per changed part.
pub(super) fn read(
    action: &str,
    context: &NormalizeContext<'_, '_>,
    changed: &ChangedObject<'_>,
) -> Result<Change, WireError> {
    let mut normalized = Map::new();
    normalized.insert("number".to_owned(), json!(changed.number));
    normalized.insert("change".to_owned(), json!(action));
    let mut id = None;
    let mut text_digest = String::new();
    match action {
        "labeled" | "unlabeled" => id = part("label", context, &mut normalized)?,
        "milestoned" | "demilestoned" => id = part("milestone", context, &mut normalized)?,
        "typed" | "untyped" => id = part("type", context, &mut normalized)?,
        "assigned" | "unassigned" => {
            let assignee: Option<User> = context.payload.optional("assignee")?;
            id = assignee.as_ref().and_then(|user| user.id);
            normalized.insert("assignee".to_owned(), user_json(assignee.as_ref()));
        }
        "review_request_removed" => {
            let (reviewer_id, fields) = reviewer(context)?;
            id = reviewer_id;
            normalized.insert("reviewer".to_owned(), fields);
        }
        "synchronize" => {
            for end in ["before", "after"] {
                let sha: Option<String> = context.payload.optional(end)?;
                normalized.insert(end.to_owned(), json!(sha));
            }
        }
        "edited" => {
            normalized.insert("changes".to_owned(), edits(context)?);
            let texts = [changed.title, changed.body].map(Option::unwrap_or_default);
            text_digest = format!(":{}", digest(&texts));
        }
        _ => {}
    }
    let at = changed.updated_at;
    Ok(Change {
        key: format!("{action}:{}{at}{text_digest}", segment(id)),
        at: if UNDATED.contains(&action) {
            context.receipt_time()
        } else {
            FactTime::from(at)
        },
        normalized: Value::Object(normalized),
    })
}

/// Formats an id as a segment of a key; empty without an id.
pub(super) fn segment(id: Option<u64>) -> String {
    id.map(|id| format!("{id}:")).unwrap_or_default()
}

/// Returns the id of a changed part and adds its name to the normalized fields.
fn part(
    field: &'static str,
    context: &NormalizeContext<'_, '_>,
    normalized: &mut Map<String, Value>,
) -> Result<Option<u64>, WireError> {
    let part: Option<Part> = context.payload.optional(field)?;
    let (id, name) = part.map_or((None, None), |part| (part.id, part.name.or(part.title)));
    normalized.insert(field.to_owned(), json!(name));
    Ok(id)
}

/// Returns which of title, body and base was edited, with the previous title and base.
///
/// The previous body is only in `raw`, because it may be long.
fn edits(context: &NormalizeContext<'_, '_>) -> Result<Value, WireError> {
    let changes: Option<Map<String, Value>> = context.payload.optional("changes")?;
    let edits = changes
        .unwrap_or_default()
        .into_iter()
        .map(|(name, previous)| {
            let previous = match name.as_str() {
                "title" => json!({ "from": previous["from"].as_str() }),
                "base" => json!({ "from": previous["ref"]["from"].as_str() }),
                _ => json!({}),
            };
            (name, previous)
        });
    Ok(Value::Object(edits.collect()))
}
