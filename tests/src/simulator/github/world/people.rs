//! People, bots, organizations, and the accounts that own repositories.

use serde_json::Value;

use super::{Id, Urls};
use crate::simulator::github::render;

/// What somebody is, in GitHub's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PersonKind {
    User,
    Bot,
    Organization,
}

impl PersonKind {
    /// The value of `type`.
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
    /// Deleted: objects show `null` or the ghost in this person's place.
    pub(crate) ghost: bool,
    /// The simple user object, rendered once.
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

/// A team of an organization, which can be asked for a review.
pub(crate) struct Team {
    pub(crate) id: Id,
    pub(crate) slug: String,
}

/// A user or an organization that owns repositories.
pub(crate) struct Account {
    /// Id of the person that the account is.
    pub(crate) id: Id,
    pub(crate) kind: PersonKind,
    pub(crate) admin: Id,
    /// Everybody who is active there, the admin included.
    pub(crate) members: Vec<Id>,
    pub(crate) bot: Id,
    pub(crate) team: Option<Team>,
    pub(crate) repositories: Vec<Id>,
    pub(crate) created_at: i64,
}
