//! Which scope a method or an event needs. Sources: the pages of the methods and events at
//! docs.slack.dev.

use serde_json::{Value, json};

use super::api::{Answer, refusal};
use super::tokens::Holder;
use super::world::{Kind, World};

/// The scope that an event needs; none, if every app hears of it.
pub(crate) fn of_event(name: &str, kind: Kind) -> Option<String> {
    let plain = name.split('.').next().unwrap_or_default();
    let family = kind.family();
    Some(match plain {
        "message" => format!("{family}:history"),
        "reaction_added" | "reaction_removed" => "reactions:read".to_owned(),
        "file_shared" => "files:read".to_owned(),
        "app_mention" => "app_mentions:read".to_owned(),
        "user_change" => "users:read".to_owned(),
        "channel_created" | "channel_rename" | "member_joined_channel" | "member_left_channel" => {
            format!("{family}:read")
        }
        _ => return None,
    })
}

impl World {
    /// Refuses whoever was not given a scope.
    pub(crate) fn need(&self, holder: &Holder, scope: &str) -> Result<(), Value> {
        let provided = self.grant(holder).map(|grant| &grant.scopes);
        if provided.is_some_and(|scopes| scopes.iter().any(|one| one == scope)) {
            return Ok(());
        }
        let mut refused = refusal("missing_scope");
        refused["needed"] = json!(scope);
        refused["provided"] = json!(provided.map(|all| all.join(",")).unwrap_or_default());
        Err(refused)
    }
}

/// The workspace that a call is about: an organization's token has to name one.
pub(crate) fn workspace(world: &World, holder: &Holder, named: &str) -> Result<String, Value> {
    if !world.organizations.contains_key(&holder.account) {
        // A workspace's own token is for that workspace, whatever it names.
        return Ok(holder.account.clone());
    }
    if named.is_empty() {
        return Err(missing("team_id"));
    }
    if world.covers(&holder.account, named) {
        Ok(named.to_owned())
    } else {
        Err(refusal("team_access_not_granted"))
    }
}

/// An argument is not there.
pub(crate) fn missing(argument: &str) -> Value {
    let mut refused = refusal("missing_argument");
    refused["response_metadata"] =
        json!({ "messages": [format!("[ERROR] missing required field: {argument}")] });
    refused
}

/// A required argument.
pub(crate) fn required<'a>(value: &'a str, name: &str) -> Result<&'a str, Value> {
    if value.is_empty() {
        Err(missing(name))
    } else {
        Ok(value)
    }
}

/// An answer, whether good or not.
pub(crate) fn flat(answer: Answer) -> Value {
    answer.unwrap_or_else(|refused| refused)
}
