//! The smaller changes of issues and pull requests: which part changed, and what tells one change
//! from another.

use serde_json::{Map, Value, json};

use super::{Scene, When, digest, person, reviewer};
use crate::connectors::github::wire::{Moment, Part, User, WireError};

/// Changes that leave the object's `updated_at` as it was.
const UNDATED: [&str; 4] = ["pinned", "unpinned", "locked", "unlocked"];

/// A change, as its Signal needs it.
pub(super) struct Change {
    /// The end of its key: the action, the part's id where there is one, the time, and a digest
    /// of the texts that were edited.
    pub key: String,
    /// When it happened.
    pub at: When,
    /// Its kind-specific fields.
    pub normalized: Value,
}

/// What changes are about: an issue or a pull request after the change.
pub(super) struct Changed<'a> {
    pub number: u64,
    pub title: Option<&'a str>,
    pub body: Option<&'a str>,
    pub updated_at: Moment,
}

/// The change that a delivery tells. Parts that change at once are facts of their own.
pub(super) fn read(
    action: &str,
    scene: &Scene<'_, '_>,
    changed: &Changed<'_>,
) -> Result<Change, WireError> {
    let mut normalized = Map::new();
    normalized.insert("number".to_owned(), json!(changed.number));
    normalized.insert("change".to_owned(), json!(action));
    let mut id = None;
    let mut digest_of_texts = String::new();
    match action {
        "labeled" | "unlabeled" => id = part("label", scene, &mut normalized)?,
        "milestoned" | "demilestoned" => id = part("milestone", scene, &mut normalized)?,
        "typed" | "untyped" => id = part("type", scene, &mut normalized)?,
        "assigned" | "unassigned" => {
            let assignee: Option<User> = scene.payload.optional("assignee")?;
            id = assignee.as_ref().and_then(|user| user.id);
            normalized.insert("assignee".to_owned(), person(assignee.as_ref()));
        }
        "review_request_removed" => {
            let (reviewer_id, fields) = reviewer(scene)?;
            id = reviewer_id;
            normalized.insert("reviewer".to_owned(), fields);
        }
        "synchronize" => {
            for end in ["before", "after"] {
                let sha: Option<String> = scene.payload.optional(end)?;
                normalized.insert(end.to_owned(), json!(sha));
            }
        }
        "edited" => {
            normalized.insert("changes".to_owned(), edits(scene)?);
            let texts = [changed.title, changed.body].map(Option::unwrap_or_default);
            digest_of_texts = format!(":{}", digest(&texts));
        }
        _ => {}
    }
    let at = changed.updated_at;
    Ok(Change {
        key: format!("{action}:{}{at}{digest_of_texts}", segment(id)),
        at: if UNDATED.contains(&action) {
            scene.receipt()
        } else {
            When::from(at)
        },
        normalized: Value::Object(normalized),
    })
}

/// An id as a segment of a key; nothing where there is none.
pub(super) fn segment(id: Option<u64>) -> String {
    id.map(|id| format!("{id}:")).unwrap_or_default()
}

/// The id of a part, whose name is noted.
fn part(
    field: &'static str,
    scene: &Scene<'_, '_>,
    normalized: &mut Map<String, Value>,
) -> Result<Option<u64>, WireError> {
    let part: Option<Part> = scene.payload.optional(field)?;
    let (id, name) = part.map_or((None, None), |part| (part.id, part.name.or(part.title)));
    normalized.insert(field.to_owned(), json!(name));
    Ok(id)
}

/// Which of title, body and base was edited, and the former title and base. The former body is in
/// `raw` alone: it may be long.
fn edits(scene: &Scene<'_, '_>) -> Result<Value, WireError> {
    let changes: Option<Map<String, Value>> = scene.payload.optional("changes")?;
    let edits = changes.unwrap_or_default().into_iter().map(|(name, was)| {
        let was = match name.as_str() {
            "title" => json!({ "from": was["from"].as_str() }),
            "base" => json!({ "from": was["ref"]["from"].as_str() }),
            _ => json!({}),
        };
        (name, was)
    });
    Ok(Value::Object(edits.collect()))
}
