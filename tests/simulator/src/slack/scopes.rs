//! Scopes of methods and events.
//!
//! Source: the reference of methods and events at docs.slack.dev.

use serde_json::{Value, json};

use super::api::{MethodResult, error_json};
use super::tokens::Holder;
use super::world::{Kind, World};

/// Scope of an event; `None` if every app receives it.
pub(crate) fn event_scope(name: &str, kind: Kind) -> Option<String> {
    let event = name.split('.').next().unwrap_or_default();
    let scope_family = kind.scope_family();
    Some(match event {
        "message" => format!("{scope_family}:history"),
        "reaction_added" | "reaction_removed" => "reactions:read".to_owned(),
        "file_shared" => "files:read".to_owned(),
        "app_mention" => "app_mentions:read".to_owned(),
        "user_change" => "users:read".to_owned(),
        "channel_created" | "channel_rename" | "member_joined_channel" | "member_left_channel" => {
            format!("{scope_family}:read")
        }
        _ => return None,
    })
}

impl World {
    /// Returns `missing_scope` unless the holder has a scope.
    pub(crate) fn require_scope(&self, holder: &Holder, scope: &str) -> Result<(), Value> {
        let provided = self.grant(holder).map(|grant| &grant.scopes);
        if provided.is_some_and(|scopes| scopes.iter().any(|granted| granted == scope)) {
            return Ok(());
        }
        let mut error = error_json("missing_scope");
        error["needed"] = json!(scope);
        error["provided"] = json!(provided.map(|all| all.join(",")).unwrap_or_default());
        Err(error)
    }
}

/// Workspace of a call. An organization's token must name one.
pub(crate) fn resolve_workspace(
    world: &World,
    holder: &Holder,
    team_id: &str,
) -> Result<String, Value> {
    if !world.organizations.contains_key(&holder.account) {
        // Slack ignores the argument for a workspace's token.
        return Ok(holder.account.clone());
    }
    if team_id.is_empty() {
        return Err(missing_argument("team_id"));
    }
    if world.covers(&holder.account, team_id) {
        Ok(team_id.to_owned())
    } else {
        Err(error_json("team_access_not_granted"))
    }
}

/// The error `missing_argument`.
pub(crate) fn missing_argument(argument: &str) -> Value {
    let mut error = error_json("missing_argument");
    error["response_metadata"] =
        json!({ "messages": [format!("[ERROR] missing required field: {argument}")] });
    error
}

/// Value of a required argument.
pub(crate) fn required<'a>(value: &'a str, name: &str) -> Result<&'a str, Value> {
    if value.is_empty() {
        Err(missing_argument(name))
    } else {
        Ok(value)
    }
}

/// Body of a result or error.
pub(crate) fn into_body(result: MethodResult) -> Value {
    result.unwrap_or_else(|error| error)
}
