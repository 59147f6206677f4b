//! Accounts at providers, and the holders of their tokens.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A provider's account: an installation, a workspace or a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalAccount {
    /// Id by which deliveries are routed.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// Id that stays the same if `id` changes (a reinstalled app has a new id).
    pub stable_id: String,
    /// Connector-specific data; no secrets.
    pub settings: serde_json::Value,
}

/// Key in an account's settings of the map from a resource's later ids to its first known id.
///
/// It is kept when the account is connected again.
const RESOURCE_IDS: &str = "resource_ids";

impl ExternalAccount {
    /// Returns the first known id of a resource with this id.
    pub fn first_id_of<'i>(&'i self, resource: &'i str) -> &'i str {
        self.settings[RESOURCE_IDS][resource]
            .as_str()
            .unwrap_or(resource)
    }

    /// Records that a resource has a new id.
    pub fn note_resource_id(&mut self, from: &str, to: &str) {
        let first = self.first_id_of(from).to_owned();
        if !self.settings.is_object() {
            self.settings = serde_json::json!({});
        }
        let ids = &mut self.settings[RESOURCE_IDS];
        if !ids.is_object() {
            *ids = serde_json::json!({});
        }
        // A channel that gets its first id back needs no translation.
        if first == to {
            ids.as_object_mut().map(|ids| ids.remove(to));
        } else {
            ids[to] = serde_json::Value::String(first);
        }
    }

    /// Copies the recorded resource ids from an older description of the same account.
    pub fn keep_resource_ids(&mut self, known: &Self) {
        let kept = &known.settings[RESOURCE_IDS];
        if kept.is_object() && self.settings.is_object() {
            self.settings[RESOURCE_IDS] = kept.clone();
        }
    }

    /// An account of which only the route is known.
    pub fn from_route(route: &str) -> Self {
        Self {
            id: route.to_owned(),
            name: route.to_owned(),
            stable_id: route.to_owned(),
            settings: serde_json::Value::Null,
        }
    }
}

/// Holder of tokens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TokenHolder {
    /// The account: every grant has tokens or requests them on demand.
    Account,
    /// A person, by the provider's id, if the provider issues user tokens.
    ///
    /// A user token reads data that the account's token cannot read; a connection works without it.
    User(String),
}

impl fmt::Display for TokenHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account => f.write_str("account"),
            Self::User(id) => write!(f, "user:{id}"),
        }
    }
}
