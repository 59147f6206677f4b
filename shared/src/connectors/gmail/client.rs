//! Calls of the Gmail API, with their costs in units.
//!
//! Google's errors are mapped by the family's client. Source: "Gmail API" and "Usage limits" at
//! developers.google.com.

use http::StatusCode;
use serde_json::json;
use url::Url;

use super::access::MailboxAccess;
use super::wire::{History, MessageList, Profile, Watch};
use crate::connectors::error::permanent_error;
use crate::connectors::google::{ApiError, Call, Client};
use crate::connectors::response::Response;
use crate::connectors::{Access, ConnectorError};
use crate::http::Priority;

/// Headers that are read of a message.
const HEADERS: [&str; 7] = [
    "From",
    "To",
    "Cc",
    "Subject",
    "Message-ID",
    "List-Id",
    "Auto-Submitted",
];
/// Fields that are read of a message: neither its body nor its beginning (`snippet`).
const FIELDS: &str = "id,threadId,labelIds,historyId,internalDate,payload/headers";
/// Reason of a response about a person without a mailbox.
const NO_MAILBOX: &str = "failedPrecondition";
/// Reason of a response about a position or a message that Google no longer has.
const NOT_FOUND: &str = "notFound";
/// Reasons of a response to an invalid position.
const INVALID: [&str; 3] = ["invalid", "invalidArgument", "badRequest"];

/// A mailbox, with the token to read it.
#[derive(Clone, Copy)]
pub(super) struct MailboxClient<'a> {
    pub(super) client: &'a Client,
    pub(super) scope: MailboxAccess,
    pub(super) access: &'a Access,
    pub(super) priority: Priority,
    /// Maximum number of messages that are read at the same time.
    pub(super) concurrency: usize,
}

impl MailboxClient<'_> {
    /// The mailbox's address and its present position in the history.
    pub(super) async fn get_profile(&self) -> Result<Profile, ConnectorError> {
        let response = self.get("get_profile", 1, &["profile"], &[]).await;
        response
            .map_err(|error| match error.cause {
                ConnectorError::Permanent(source) if error.code == NO_MAILBOX => {
                    ConnectorError::denied(source)
                }
                other => other,
            })?
            .json()
    }

    /// A page of the history since a position.
    ///
    /// # Errors
    ///
    /// [`ConnectorError::CursorExpired`] if Google has no history since then any more.
    pub(super) async fn list_history(
        &self,
        since: &str,
        page: Option<&str>,
        size: u32,
    ) -> Result<History, ConnectorError> {
        let size = size.to_string();
        let mut query = vec![
            ("startHistoryId", since),
            ("maxResults", size.as_str()),
            ("historyTypes", "messageAdded"),
            ("historyTypes", "labelAdded"),
        ];
        query.extend(page.map(|page| ("pageToken", page)));
        let response = self.get("list_history", 2, &["history"], &query).await;
        let response = response.map_err(|error| {
            let is_expired = is_not_found(&error);
            position_error(error, is_expired)
        })?;
        let page: History = response.json()?;
        if page.position.is_none() && page.next_page.is_none() && page.records.is_empty() {
            return Err(permanent_error("the response is no page of the history"));
        }
        Ok(page)
    }

    /// A page of the messages, newest first, without spam and trash.
    ///
    /// No label restricts it, because filters move mail out of the inbox.
    pub(super) async fn list_messages(
        &self,
        search: Option<&str>,
        page: Option<&str>,
        size: u32,
    ) -> Result<MessageList, ConnectorError> {
        let size = size.to_string();
        let mut query = vec![("maxResults", size.as_str())];
        query.extend(search.map(|search| ("q", search)));
        query.extend(page.map(|page| ("pageToken", page)));
        let response = self.get("list_messages", 5, &["messages"], &query).await;
        let page: MessageList = response
            .map_err(|error| position_error(error, false))?
            .json()?;
        if page.estimate.is_none() && page.next_page.is_none() && page.messages.is_empty() {
            return Err(permanent_error("the response is no list of messages"));
        }
        Ok(page)
    }

    /// A message without its body; `None` if it has been deleted.
    pub(super) async fn get_message(&self, id: &str) -> Result<Option<Response>, ConnectorError> {
        let headers = HEADERS.iter().map(|name| ("metadataHeaders", *name));
        let query: Vec<(&str, &str)> = [("format", "metadata"), ("fields", FIELDS)]
            .into_iter()
            .chain(headers)
            .collect();
        match self.get("get_message", 20, &["messages", id], &query).await {
            Ok(response) => Ok(Some(response)),
            Err(error) if is_not_found(&error) => Ok(None),
            Err(error) => Err(error.cause),
        }
    }

    /// Registers for pushes of the mailbox's changes, or prolongs the registration.
    pub(super) async fn watch(&self, topic: &str) -> Result<Watch, ApiError> {
        let body = json!({
            "topicName": topic,
            "labelIds": ["DRAFT", "SPAM"],
            "labelFilterBehavior": "exclude",
        });
        let call = self.call("watch", 100);
        let response = self.client.post(&call, self.url(&["watch"]), &body).await?;
        Ok(response.json()?)
    }

    /// Ends the registration for pushes.
    pub(super) async fn stop(&self) -> Result<(), ApiError> {
        let call = self.call("stop", 50);
        self.client.post_nothing(&call, self.url(&["stop"])).await?;
        Ok(())
    }

    async fn get(
        &self,
        operation: &'static str,
        units: u32,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Response, ApiError> {
        let call = self.call(operation, units);
        self.client.get(&call, self.url(path), query).await
    }

    const fn call(&self, operation: &'static str, units: u32) -> Call<'_> {
        Call {
            access: self.access,
            operation,
            units,
            scope: self.scope.scope(),
            priority: self.priority,
        }
    }

    fn url(&self, path: &[&str]) -> Url {
        let mailbox = ["gmail", "v1", "users", "me"];
        self.client.gmail_url(&[&mailbox[..], path].concat())
    }
}

/// Whether Gmail itself reports a missing message, and not a page of another server.
fn is_not_found(error: &ApiError) -> bool {
    error.is(StatusCode::NOT_FOUND) && error.code == NOT_FOUND
}

/// The error of a list, which starts over if its position is not accepted.
fn position_error(error: ApiError, is_expired: bool) -> ConnectorError {
    let is_invalid = error.is(StatusCode::BAD_REQUEST) && INVALID.contains(&error.code.as_str());
    if is_expired || is_invalid {
        return error.cause.into_cursor_expired();
    }
    error.into()
}
