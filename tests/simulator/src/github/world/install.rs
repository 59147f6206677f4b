//! Installations of the app and their permissions.

use std::collections::{BTreeMap, BTreeSet};

use super::Id;

/// Repositories that an installation covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selection {
    /// All present and future ones. The removal of one changes it to `Selected`.
    All,
    /// Only the given ones.
    Selected(BTreeSet<Id>),
}

/// An installation of the app in an account.
pub(crate) struct Installation {
    pub(crate) id: Id,
    pub(crate) account: Id,
    pub(crate) selection: Selection,
    pub(crate) permissions: BTreeMap<String, String>,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    pub(crate) suspended_at: Option<i64>,
    pub(crate) suspended_by: Option<Id>,
}

impl Installation {
    /// Whether a repository of the account is covered.
    pub(crate) fn covers(&self, repository: Id) -> bool {
        match &self.selection {
            Selection::All => true,
            Selection::Selected(ids) => ids.contains(&repository),
        }
    }

    /// `all` or `selected`.
    pub(crate) fn selection_name(&self) -> &'static str {
        match self.selection {
            Selection::All => "all",
            Selection::Selected(_) => "selected",
        }
    }

    /// Whether a permission is granted; *Metadata: read* always is.
    pub(crate) fn has_permission(&self, permission: &str) -> bool {
        permission == "metadata" || self.permissions.contains_key(permission)
    }
}

/// A member's request to install the app.
pub(crate) struct InstallRequest {
    pub(crate) account: Id,
    pub(crate) requester: Id,
}

/// Read permissions that the app's events require.
pub(crate) fn default_permissions() -> BTreeMap<String, String> {
    [
        "actions",
        "contents",
        "deployments",
        "discussions",
        "issues",
        "members",
        "metadata",
        "pull_requests",
    ]
    .into_iter()
    .map(|name| (name.to_owned(), "read".to_owned()))
    .collect()
}
