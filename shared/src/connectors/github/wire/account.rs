//! Users, repositories, installations and tokens.

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::{Timestamp, flag, id, lenient, link, number, object, text};
use crate::model::ExternalAccount;

/// An account of a user, a bot or an organization.
#[derive(Debug, Clone, Default, Deserialize)]
pub(in super::super) struct User {
    #[serde(default, deserialize_with = "number")]
    pub id: Option<u64>,
    #[serde(default, deserialize_with = "text")]
    pub login: Option<String>,
    /// Name, which old payloads use instead of `login` for owners.
    #[serde(default, deserialize_with = "text")]
    pub name: Option<String>,
    #[serde(default, rename = "type", deserialize_with = "text")]
    pub kind: Option<String>,
    #[serde(default, deserialize_with = "link")]
    pub html_url: Option<String>,
}

/// A repository.
#[derive(Debug, Clone, Deserialize)]
pub(in super::super) struct Repository {
    #[serde(deserialize_with = "id")]
    pub id: u64,
    #[serde(default, deserialize_with = "text")]
    pub name: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub full_name: Option<String>,
    #[serde(default, deserialize_with = "link")]
    pub html_url: Option<String>,
    #[serde(default, deserialize_with = "object")]
    pub owner: Option<User>,
    #[serde(default, deserialize_with = "flag")]
    pub private: Option<bool>,
    #[serde(default, deserialize_with = "flag")]
    pub disabled: Option<bool>,
    #[serde(default, deserialize_with = "flag")]
    pub has_issues: Option<bool>,
    #[serde(default, deserialize_with = "lenient")]
    pub created_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient")]
    pub updated_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient")]
    pub pushed_at: Option<Timestamp>,
}

impl Repository {
    /// Returns `owner/name`, also if the payload has only the parts.
    pub(in super::super) fn full_name(&self) -> Option<String> {
        self.full_name.clone().or_else(|| {
            let owner = self.owner.as_ref()?;
            let owner = owner.login.as_ref().or(owner.name.as_ref())?;
            Some(format!("{owner}/{}", self.name.as_ref()?))
        })
    }
}

/// A page of an installation's repositories.
#[derive(Debug, Deserialize)]
pub(in super::super) struct RepositoryList {
    #[serde(default, deserialize_with = "number")]
    pub total_count: Option<u64>,
    pub repositories: Vec<Box<RawValue>>,
}

/// The app, as GitHub describes it to the holder of its key.
#[derive(Debug, Deserialize)]
pub(in super::super) struct App {
    #[serde(deserialize_with = "id")]
    pub id: u64,
}

/// An app's installation on an account.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Installation {
    #[serde(deserialize_with = "id")]
    pub id: u64,
    /// The installed app.
    #[serde(default, deserialize_with = "number")]
    pub app_id: Option<u64>,
    #[serde(default, deserialize_with = "object")]
    pub account: Option<User>,
    #[serde(default, deserialize_with = "link")]
    pub html_url: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub repository_selection: Option<String>,
    #[serde(default, deserialize_with = "object")]
    pub permissions: Option<Map<String, Value>>,
    #[serde(default, deserialize_with = "lenient")]
    pub suspended_at: Option<Timestamp>,
}

impl Installation {
    /// Returns the account for a connection; `None` if the payload does not name it.
    pub(in super::super) fn external_account(&self) -> Option<ExternalAccount> {
        let account = self.account.as_ref()?;
        let stable_id = account.id?.to_string();
        Some(ExternalAccount {
            id: self.id.to_string(),
            // An enterprise has a name and no login.
            name: account
                .login
                .clone()
                .or_else(|| account.name.clone())
                .unwrap_or_else(|| stable_id.clone()),
            stable_id,
            settings: json!({
                "account_type": account.kind,
                "app_id": self.app_id,
                "html_url": self.html_url,
                "repository_selection": self.repository_selection,
            }),
        })
    }

    /// Returns its permissions as `permission:level`.
    pub(in super::super) fn scopes(&self) -> Vec<String> {
        let mut scopes: Vec<String> = self
            .permissions
            .iter()
            .flatten()
            .filter_map(|(name, level)| Some(format!("{name}:{}", level.as_str()?)))
            .collect();
        scopes.sort_unstable();
        scopes
    }
}

/// A page of the installations that a user has access to.
#[derive(Debug, Deserialize)]
pub(in super::super) struct InstallationList {
    pub installations: Vec<Box<RawValue>>,
}

/// A row of a list of which only the id is read.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Identified {
    #[serde(deserialize_with = "id")]
    pub id: u64,
}

/// A user's membership of an organization.
#[derive(Debug, Deserialize)]
pub(in super::super) struct OrganizationMembership {
    #[serde(default, deserialize_with = "text")]
    pub role: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub state: Option<String>,
    #[serde(default, deserialize_with = "object")]
    pub organization: Option<User>,
}

impl OrganizationMembership {
    /// Returns whether the user is an active admin of this organization.
    ///
    /// It compares the numeric ids, because another organization can take over a login.
    pub(in super::super) fn is_admin_of(&self, organization: &User) -> bool {
        let same = self.organization.as_ref().and_then(|known| known.id);
        self.role.as_deref() == Some("admin")
            && self.state.as_deref() == Some("active")
            && same.is_some()
            && same == organization.id
    }
}

/// A new installation token.
#[derive(Debug, Deserialize)]
pub(in super::super) struct InstallationToken {
    pub token: SecretString,
    pub expires_at: DateTime<Utc>,
}

/// An entry of the app's delivery log.
#[derive(Debug, Deserialize)]
pub(in super::super) struct AppDelivery {
    #[serde(deserialize_with = "id")]
    pub id: u64,
    pub guid: String,
    #[serde(default, deserialize_with = "lenient")]
    pub delivered_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "text")]
    pub status: Option<String>,
    #[serde(default, deserialize_with = "number")]
    pub status_code: Option<i64>,
}
