//! Calls of the Zoho Mail API.
//!
//! Zoho's errors are mapped by the family's client. Source: "Accounts API", "Folders API" and
//! "Email Messages API" at zoho.com/mail/help/api.

use chrono::TimeDelta;

use super::wire::List;
use crate::connectors::zoho::{ApiError, Call, Client, PROFILE, Product};
use crate::connectors::{Access, ConnectorError};
use crate::http::Priority;
use crate::model::LimitScope;

/// Scope of the list of mailboxes.
pub(super) const ACCOUNTS: &str = "ZohoMail.accounts.READ";
/// Scope of the list of folders.
pub(super) const FOLDERS: &str = "ZohoMail.folders.READ";
/// Scope of the lists of mails.
pub(super) const MESSAGES: &str = "ZohoMail.messages.READ";

const LIST_ACCOUNTS: &str = "list_accounts";
const LIST_FOLDERS: &str = "list_folders";
const LIST_MESSAGES: &str = "list_messages";

/// All calls, which share one limit.
pub(super) const OPERATIONS: &[&str] = &[LIST_ACCOUNTS, LIST_FOLDERS, LIST_MESSAGES];

/// Zoho Mail, as a product of the family.
pub(super) static PRODUCT: Product = Product {
    name: "Zoho Mail",
    scopes: &[ACCOUNTS, FOLDERS, MESSAGES, PROFILE],
    needed: &[ACCOUNTS, FOLDERS],
    access: "see your mailbox and its folders",
    host: |hosts| &hosts.mail,
    lock: TimeDelta::minutes(15),
    lock_scope: LimitScope::Account,
};

/// A mailbox's API, with the token to read it.
#[derive(Clone, Copy)]
pub(super) struct MailClient<'a> {
    pub(super) client: &'a Client,
    pub(super) access: &'a Access,
    pub(super) priority: Priority,
}

impl MailClient<'_> {
    /// The person's mailboxes.
    pub(super) async fn list_accounts(&self) -> Result<List, ConnectorError> {
        Ok(self.get(LIST_ACCOUNTS, ACCOUNTS, &[], &[]).await?)
    }

    /// The folders of a mailbox.
    pub(super) async fn list_folders(&self, account: &str) -> Result<List, ConnectorError> {
        let path = [account, "folders"];
        Ok(self.get(LIST_FOLDERS, FOLDERS, &path, &[]).await?)
    }

    /// Mails of a folder, newest first, from a position on. The first position is 1.
    ///
    /// Archived mails are included: they arrived as well.
    pub(super) async fn list_messages(
        &self,
        account: &str,
        folder: &str,
        start: u64,
        limit: u32,
    ) -> Result<List, ConnectorError> {
        let (start, limit) = (start.to_string(), limit.to_string());
        let query = [
            ("folderId", folder),
            ("start", start.as_str()),
            ("limit", limit.as_str()),
            ("sortBy", "date"),
            ("sortorder", "false"),
            ("includeto", "true"),
            ("includearchive", "true"),
        ];
        let path = [account, "messages", "view"];
        Ok(self.get(LIST_MESSAGES, MESSAGES, &path, &query).await?)
    }

    async fn get(
        &self,
        operation: &'static str,
        scope: &'static str,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<List, ApiError> {
        let call = Call {
            access: self.access,
            operation,
            scope,
            priority: self.priority,
        };
        let path = [&["api", "accounts"][..], path].concat();
        Ok(self.client.get(&call, &path, query).await?.json()?)
    }
}
