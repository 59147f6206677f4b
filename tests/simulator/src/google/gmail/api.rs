//! Methods of the API, version 1.

use std::sync::Arc;

use axum::http::Method;
use serde_json::{Value, json};

use super::errors::forbidden;
use super::id::parse_hex;
use super::mailbox::Message;
use super::reading::{self, Access};
use super::watch::Watch;
use super::{Gmail, history};
use crate::google::Google;
use crate::google::api::{Call, Endpoint, Product, Reply};
use crate::google::error::ApiError;

const METADATA: &str = "https://www.googleapis.com/auth/gmail.metadata";
const READONLY: &str = "https://www.googleapis.com/auth/gmail.readonly";
const MODIFY: &str = "https://www.googleapis.com/auth/gmail.modify";
const COMPOSE: &str = "https://www.googleapis.com/auth/gmail.compose";
const LABELS: &str = "https://www.googleapis.com/auth/gmail.labels";
const ALL: &str = "https://mail.google.com/";

/// Scopes that allow to read messages and their history.
pub(super) const READING: [&str; 4] = [METADATA, READONLY, MODIFY, ALL];
const PROFILE: [&str; 5] = [METADATA, READONLY, MODIFY, ALL, COMPOSE];
const LABEL: [&str; 5] = [METADATA, READONLY, MODIFY, ALL, LABELS];

const fn endpoint(id: &'static str, units: u64, scopes: &'static [&'static str]) -> Endpoint {
    Endpoint {
        id,
        units,
        scopes,
        default_fields: None,
        requires_fields: false,
    }
}

impl Product for Gmail {
    const SERVICE: &'static str = "gmail.googleapis.com";
    const ROOT: &'static str = "/gmail/v1";
    const BATCH: &'static [&'static str] = &["/batch", "/batch/gmail/v1"];

    fn google(&self) -> &Arc<Google> {
        &self.google
    }

    fn endpoint(&self, method: &Method, parts: &[&str]) -> Option<Endpoint> {
        let ["users", _, parts @ ..] = parts else {
            return None;
        };
        Some(match (method.as_str(), parts) {
            ("GET", ["profile"]) => endpoint("gmail.users.getProfile", 1, &PROFILE),
            ("GET", ["messages"]) => endpoint("gmail.users.messages.list", 5, &READING),
            ("GET", ["messages", _]) => endpoint("gmail.users.messages.get", 20, &READING),
            ("GET", ["history"]) => endpoint("gmail.users.history.list", 2, &READING),
            ("GET", ["labels"]) => endpoint("gmail.users.labels.list", 1, &LABEL),
            ("GET", ["labels", _]) => endpoint("gmail.users.labels.get", 1, &LABEL),
            ("GET", ["threads", _]) => endpoint("gmail.users.threads.get", 40, &READING),
            ("POST", ["watch"]) => endpoint("gmail.users.watch", 100, &READING),
            ("POST", ["stop"]) => endpoint("gmail.users.stop", 50, &READING),
            _ => return None,
        })
    }

    fn respond(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        let caller = call.caller;
        let person = self.google.person(&caller.sub);
        let person = person.ok_or_else(ApiError::unauthorized)?;
        let user = call.parts[1];
        if user != "me" && !user.eq_ignore_ascii_case(&person.address) {
            let text = format!("Delegation denied for {}", person.address);
            return Err(forbidden(text));
        }
        // The restrictions of this scope also hold together with broader ones.
        let access = if caller.scopes.contains(METADATA) {
            Access::Metadata
        } else {
            Access::Content
        };
        let mut world = self.world();
        let mailbox = self.open(&mut world, &person);
        let settings = self.settings();
        let id = call.parts.get(3).copied().unwrap_or_default();
        let body = match call.endpoint.id {
            "gmail.users.getProfile" => reading::profile(mailbox),
            "gmail.users.messages.list" => reading::list(mailbox, call, &settings, access)?,
            "gmail.users.messages.get" => reading::get(mailbox, id, call, access)?,
            "gmail.users.history.list" => history::list(mailbox, call, &settings)?,
            "gmail.users.labels.list" => reading::labels(mailbox),
            "gmail.users.labels.get" => reading::label(mailbox, id)?,
            "gmail.users.threads.get" => reading::thread(mailbox, id, call, access)?,
            "gmail.users.watch" => {
                let now = self.core.clock.milliseconds();
                let watch = Watch::parse(call.body, &mailbox.names, &settings, now)?;
                mailbox.watch = Some(watch);
                if settings.notifies_on_watch {
                    self.notify(mailbox, self.now());
                }
                json!({
                    "historyId": mailbox.history_id().to_string(),
                    "expiration": watch.expires.to_string(),
                })
            }
            _ => {
                mailbox.watch = None;
                return Ok(Reply::empty());
            }
        };
        Ok(Reply::json(body))
    }

    /// A message in a response counts as polled; lists name messages without their facts.
    fn received(&self, call: &Call<'_>, _body: &Value) {
        let Some(id) = call.parts.get(3).copied().and_then(parse_hex) else {
            return;
        };
        let world = self.world();
        let Some(mailbox) = world.mailboxes.get(&call.caller.sub) else {
            return;
        };
        let facts: Vec<u64> = match call.endpoint.id {
            "gmail.users.messages.get" => facts(mailbox.messages.get(&id)),
            "gmail.users.threads.get" => facts(mailbox.thread(id)),
            _ => return,
        };
        self.core.ledger.mark_polled(facts);
    }
}

/// Ledger rows of messages.
fn facts<'m>(messages: impl IntoIterator<Item = &'m Message>) -> Vec<u64> {
    let messages = messages.into_iter();
    messages.filter_map(|message| message.fact).collect()
}
