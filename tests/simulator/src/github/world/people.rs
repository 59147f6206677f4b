//! People, bots, organizations, and accounts.

use serde_json::Value;

use super::{Id, Urls};
use crate::github::render;

/// Type of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PersonKind {
    User,
    Bot,
    Organization,
}

impl PersonKind {
    /// Value of `type` in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Bot => "Bot",
            Self::Organization => "Organization",
        }
    }
}

/// A login: a person, a bot or an organization.
pub(crate) struct Person {
    pub(crate) id: Id,
    pub(crate) login: String,
    pub(crate) kind: PersonKind,
    /// Deleted: objects show `null` or the ghost user instead.
    pub(crate) ghost: bool,
    /// Cached user object.
    pub(crate) rendered: Value,
}

impl Person {
    pub(crate) fn new(id: Id, login: String, kind: PersonKind, urls: &Urls) -> Self {
        let rendered = render::person(id, &login, kind, urls);
        Self {
            id,
            login,
            kind,
            ghost: false,
            rendered,
        }
    }
}

/// A team of an organization, which can review pull requests.
pub(crate) struct Team {
    pub(crate) id: Id,
    pub(crate) slug: String,
}

/// A user or an organization that owns repositories.
pub(crate) struct Account {
    /// Id of the user or organization.
    pub(crate) id: Id,
    pub(crate) kind: PersonKind,
    pub(crate) admin: Id,
    /// Active members, including the admin.
    pub(crate) members: Vec<Id>,
    pub(crate) bot: Id,
    pub(crate) team: Option<Team>,
    pub(crate) repositories: Vec<Id>,
    pub(crate) created_at: i64,
}
