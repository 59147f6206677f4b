//! Objects with a text that people write, edit and delete.
//!
//! Comments, review comments and releases have the same three actions.

use serde_json::{Value, json};

use super::{ActionContext, ActionError, ActionParams, Outcome, Transaction};
use crate::github::facts::Fact;
use crate::github::world::{Collection, Id, Item, Repository, World};

/// Kind of such an object.
pub(super) trait Post: Item + Sized {
    /// Name in error messages.
    const NAME: &'static str;
    /// Name of its events.
    const EVENT: &'static str;
    /// Text after an edit that gives none.
    const EDITED_TEXT: &'static str;

    fn all(repo: &Repository) -> &Collection<Self>;
    fn all_mut(repo: &mut Repository) -> &mut Collection<Self>;
    /// Writes a new one, and returns its id.
    fn create(
        tx: &mut Transaction<'_>,
        context: ActionContext,
        params: &ActionParams,
    ) -> Result<Id, ActionError>;
    /// Adds the object, and the objects around it, to the body of an event.
    fn describe(&self, world: &World, repo: &Repository, body: &mut Value);
    fn set_text(&mut self, text: &str, at: i64);
    /// Ledger rows that lists show.
    fn facts(&mut self) -> &mut Vec<u64>;
    fn edited(id: Id, at: i64, text: &str) -> Fact;
    fn deleted(id: Id) -> Fact;
    /// Updates the objects around a removed one.
    fn removed(&self, _repo: &mut Repository) {}
}

/// Sends the event of a post; `extra` are additional fields.
pub(super) fn announce<P: Post>(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    action: &'static str,
    id: Id,
    extra: Value,
) -> bool {
    tx.announce(context, P::EVENT, Some(action), |world, repo| {
        let mut body = extra;
        if let Some(post) = P::all(repo).get(id) {
            post.describe(world, repo, &mut body);
        }
        body
    })
}

/// Writes a post; the result is its id.
pub(super) fn create<P: Post>(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    params: &ActionParams,
) -> Outcome {
    let id = P::create(tx, context, params)?;
    Ok(json!({ "id": id }))
}

/// Records the fact that a post was written.
pub(super) fn record_created<P: Post>(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    id: Id,
    fact: Fact,
    announced: bool,
) -> Result<(), ActionError> {
    let seq = tx.record(context, fact, announced);
    let repo = tx.repository_mut(context.repository)?;
    P::all_mut(repo).change(id, |post| post.facts().push(seq));
    Ok(())
}

/// Post in the parameters, or the newest, or a new one.
fn choose<P: Post>(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    params: &ActionParams,
) -> Result<Id, ActionError> {
    let all = P::all(tx.repository(context.repository)?);
    if let Some(id) = params.id {
        let known = all.get(id).map(Item::id);
        return known.ok_or_else(|| ActionError(format!("unknown {} {id}", P::NAME)));
    }
    let newest = all.newest().next().map(Item::id);
    match newest {
        Some(id) => Ok(id),
        None => P::create(tx, context, &ActionParams::default()),
    }
}

pub(super) fn edit<P: Post>(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    params: &ActionParams,
) -> Outcome {
    let id = choose::<P>(tx, context, params)?;
    let at = tx.at;
    let text = params.text(P::EDITED_TEXT);
    let repo = tx.repository_mut(context.repository)?;
    P::all_mut(repo).change(id, |post| post.set_text(&text, at));
    let announced = announce::<P>(tx, context, "edited", id, text_changed());
    tx.record(context, P::edited(id, at, &text), announced);
    Ok(json!({ "id": id }))
}

/// `changes` of an edited text.
pub(super) fn text_changed() -> Value {
    json!({"changes": {"body": {"from": "An earlier text"}}})
}

pub(super) fn delete<P: Post>(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    params: &ActionParams,
) -> Outcome {
    let id = choose::<P>(tx, context, params)?;
    let announced = announce::<P>(tx, context, "deleted", id, json!({}));
    let repo = tx.repository_mut(context.repository)?;
    if let Some(mut post) = P::all_mut(repo).remove(id) {
        post.removed(repo);
        tx.service.core.ledger.hide(post.facts());
    }
    tx.record(context, P::deleted(id), announced);
    Ok(json!({ "id": id }))
}
