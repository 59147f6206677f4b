//! Calls of Cliq's API, version 2, with the scopes that they need.
//!
//! Zoho's errors are mapped by the family's client. Source: "Zoho Cliq REST API v2" at
//! zoho.com/cliq/help.

use super::wire::{ChannelPage, ChatPage, ThreadPage, User};
use crate::connectors::response::Response;
use crate::connectors::zoho::{ApiError, Call, Client};
use crate::connectors::{Access, ConnectorError};
use crate::http::Priority;

/// Scope of lists of channels.
pub(super) const CHANNELS: &str = "ZohoCliq.Channels.READ";
/// Scope of lists of chats and threads.
pub(super) const CHATS: &str = "ZohoCliq.Chats.READ";
/// Scope of messages.
pub(super) const MESSAGES: &str = "ZohoCliq.Messages.READ";
/// Scope of names of users.
pub(super) const USERS: &str = "ZohoCliq.Users.READ";

/// Operation that reads messages, the one with the lowest limit.
pub(super) const LIST_MESSAGES: &str = "list_messages";
const LIST_CHANNELS: &str = "list_channels";
const LIST_CHATS: &str = "list_chats";
const LIST_THREADS: &str = "list_threads";
const GET_USER: &str = "get_user";
/// All other operations.
pub(super) const OTHERS: &[&str] = &[LIST_CHANNELS, LIST_CHATS, LIST_THREADS, GET_USER];

/// Cliq as one person sees it, with the token to read it.
#[derive(Clone, Copy)]
pub(super) struct CliqClient<'a> {
    pub(super) client: &'a Client,
    pub(super) access: &'a Access,
    pub(super) priority: Priority,
}

impl CliqClient<'_> {
    /// A page of the channels that the person has joined.
    pub(super) async fn list_channels(
        &self,
        limit: u32,
        next: Option<&str>,
    ) -> Result<ChannelPage, ConnectorError> {
        let limit = limit.to_string();
        let mut query = vec![("joined", "true"), ("limit", limit.as_str())];
        query.extend(next.map(|next| ("next_token", next)));
        let response = self
            .get(LIST_CHANNELS, CHANNELS, &["channels"], &query)
            .await;
        list_response(response, next)?.json()
    }

    /// Chats whose last message lies between two times, in milliseconds.
    pub(super) async fn list_chats(
        &self,
        limit: u32,
        after: Option<i64>,
        before: Option<i64>,
    ) -> Result<ChatPage, ConnectorError> {
        let limit = limit.to_string();
        let [after, before] = [after, before].map(|bound| bound.map(|at| at.to_string()));
        let mut query = vec![("limit", limit.as_str())];
        query.extend(after.as_deref().map(|after| ("modified_after", after)));
        query.extend(before.as_deref().map(|before| ("modified_before", before)));
        let response = self.get(LIST_CHATS, CHATS, &["chats"], &query).await?;
        response.json()
    }

    /// A page of the threads of a channel, whether the person follows them or not.
    pub(super) async fn list_threads(
        &self,
        channel: &str,
        limit: u32,
        next: Option<&str>,
    ) -> Result<ThreadPage, ConnectorError> {
        let limit = limit.to_string();
        let mut query = vec![("state", "all"), ("limit", limit.as_str())];
        query.extend(next.map(|next| ("next_token", next)));
        let path = ["channels", channel, "threads"];
        let response = self.get(LIST_THREADS, CHATS, &path, &query).await;
        list_response(response, next)?.json()
    }

    /// Messages of a chat or thread between two times, in milliseconds.
    pub(super) async fn list_messages(
        &self,
        chat: &str,
        (from, to): (i64, i64),
        limit: u32,
    ) -> Result<Response, ConnectorError> {
        let [from, to] = [from, to].map(|bound| bound.to_string());
        let limit = limit.to_string();
        let query = [
            ("fromtime", from.as_str()),
            ("totime", to.as_str()),
            ("limit", limit.as_str()),
        ];
        let path = ["chats", chat, "messages"];
        let response = self.get(LIST_MESSAGES, MESSAGES, &path, &query).await;
        response.map_err(ConnectorError::from)
    }

    /// A user.
    pub(super) async fn get_user(&self, id: &str) -> Result<User, ConnectorError> {
        #[derive(serde::Deserialize)]
        struct Found {
            data: User,
        }
        let response = self.get(GET_USER, USERS, &["users", id], &[]).await?;
        let found: Found = response.json()?;
        Ok(found.data)
    }

    async fn get(
        &self,
        operation: &'static str,
        scope: &'static str,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Response, ApiError> {
        let call = Call {
            access: self.access,
            operation,
            scope,
            priority: self.priority,
        };
        let path = [&["api", "v2"], path].concat();
        self.client.get(&call, &path, query).await
    }
}

/// The response to a page of a list, which starts over if its token is not accepted.
fn list_response(
    response: Result<Response, ApiError>,
    next: Option<&str>,
) -> Result<Response, ConnectorError> {
    response.map_err(|error| match (next, error.cause) {
        (Some(_), cause @ ConnectorError::Permanent(_)) => cause.into_cursor_expired(),
        (_, cause) => cause,
    })
}
