//! Releases: published, edited, deleted.

use std::cell::OnceCell;

use serde_json::{Value, json};

use super::post::{self, Post};
use super::{ActionContext, ActionError, ActionParams, Outcome, Transaction, reject};
use crate::github::facts::{self, Fact};
use crate::github::render;
use crate::github::world::{Collection, Id, ObjectType, Release, Repository, World};

pub(super) fn perform(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    action: &str,
    params: &ActionParams,
) -> Outcome {
    match action {
        "published" => post::create::<Release>(tx, context, params),
        "edited" => post::edit::<Release>(tx, context, params),
        "deleted" => post::delete::<Release>(tx, context, params),
        _ => reject(format!("unknown action release.{action}")),
    }
}

impl Post for Release {
    const NAME: &'static str = "release";
    const EVENT: &'static str = "release";
    const EDITED_TEXT: &'static str = "More fixes and improvements.";

    fn all(repo: &Repository) -> &Collection<Self> {
        &repo.releases
    }

    fn all_mut(repo: &mut Repository) -> &mut Collection<Self> {
        &mut repo.releases
    }

    fn create(
        tx: &mut Transaction<'_>,
        context: ActionContext,
        params: &ActionParams,
    ) -> Result<Id, ActionError> {
        let id = tx.world.next_id(ObjectType::Release);
        let at = tx.at;
        let tag = params
            .name
            .clone()
            .unwrap_or_else(|| format!("v1.{}", id % 100_000));
        let name = match &params.title {
            Some(title) => title.clone(),
            // GitHub sends an empty name for a release without a name.
            None if tx.chance(0.2) => String::new(),
            None => format!("Release {tag}"),
        };
        let repo = tx.repository_mut(context.repository)?;
        let tip = repo.head("main").unwrap_or_default().to_owned();
        repo.tags.insert(tag.clone(), tip);
        repo.releases.insert(Self {
            id,
            tag,
            name: Some(name),
            body: params.text("Fixes and improvements."),
            target: "main".to_owned(),
            prerelease: params.state.as_deref() == Some("prerelease"),
            author: context.actor,
            created_at: at,
            updated_at: at,
            published_at: at,
            facts: Vec::new(),
            rendered: OnceCell::new(),
        });
        post::announce::<Self>(tx, context, "created", id, json!({}));
        let announced = post::announce::<Self>(tx, context, "published", id, json!({}));
        post::announce::<Self>(tx, context, "released", id, json!({}));
        let fact = facts::release_published(id);
        post::record_created::<Self>(tx, context, id, fact, announced)?;
        Ok(id)
    }

    fn describe(&self, world: &World, repo: &Repository, body: &mut Value) {
        body["release"] = render::release(world, repo, self);
    }

    fn set_text(&mut self, text: &str, at: i64) {
        text.clone_into(&mut self.body);
        self.updated_at = at;
    }

    fn facts(&mut self) -> &mut Vec<u64> {
        &mut self.facts
    }

    fn edited(id: Id, at: i64, _text: &str) -> Fact {
        facts::release_edited(id, at)
    }

    fn deleted(id: Id) -> Fact {
        facts::release_deleted(id)
    }
}
