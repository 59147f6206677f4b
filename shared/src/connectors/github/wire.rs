//! Types of GitHub's payloads and REST responses.
//!
//! Webhooks and the REST API describe the same objects, so both use these types. They are lenient:
//! only ids are required, because payloads of many years and Enterprise versions must parse. Numbers
//! and flags may be text, and an unreadable field that is part of no identity counts as missing. The
//! code that builds a fact checks for the other fields that it needs.

mod account;
mod code;
mod number;
mod thread;
mod timestamp;

use std::borrow::Cow;
use std::collections::HashMap;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

pub(super) use account::{
    App, AppDelivery, Identified, Installation, InstallationList, InstallationToken,
    OrganizationMembership, Repository, RepositoryList, User,
};
pub(super) use code::{
    Commit, CommitComment, Deployment, DeploymentStatus, Named, Push, Release, Stargazer,
    WorkflowRun, WorkflowRunList,
};
pub(super) use thread::{
    Comment, Discussion, Issue, Label, Milestone, Part, PullRequest, Review, Team,
};
pub(super) use timestamp::{Timestamp, lenient};

use crate::connectors::ConnectorError;
use crate::connectors::wire::{lenient as object, link, list, read_json, text};
use number::{flag, id, number, part_of_key};

/// Reason why a payload yields no fact. It names the field and never quotes the content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum WireError {
    /// The body is not a JSON object.
    #[error("the payload is not a JSON object (line {line}, column {column})")]
    NotAnObject {
        /// Line of the syntax error.
        line: usize,
        /// Column of the syntax error.
        column: usize,
    },
    /// A required field is missing.
    #[error("the payload has no field `{0}`")]
    Missing(&'static str),
    /// A field does not have the documented form.
    #[error("the payload's field `{field}` does not have the documented form ({detail})")]
    Malformed {
        /// The top-level field.
        field: &'static str,
        /// Missing part of it, or the position of the error.
        detail: String,
    },
}

impl From<WireError> for ConnectorError {
    fn from(error: WireError) -> Self {
        Self::Permanent(error.into())
    }
}

/// A webhook's body, split into its top-level fields, which are parsed on demand.
pub(super) struct Payload<'a> {
    whole: &'a str,
    fields: HashMap<Cow<'a, str>, &'a RawValue>,
}

impl<'a> Payload<'a> {
    /// Parses the outermost object.
    pub(super) fn parse(body: &'a str) -> Result<Self, WireError> {
        match serde_json::from_str(body) {
            Ok(fields) => Ok(Self {
                whole: body,
                fields,
            }),
            Err(error) => Err(not_an_object(&error)),
        }
    }

    /// Parses the whole payload, for events without a separate object.
    pub(super) fn whole<T: DeserializeOwned>(&self) -> Result<T, WireError> {
        read("payload", self.raw_whole()?)
    }

    /// Returns the whole payload as raw JSON.
    pub(super) fn raw_whole(&self) -> Result<&'a RawValue, WireError> {
        serde_json::from_str(self.whole).map_err(|error| not_an_object(&error))
    }

    /// Parses a required field that is not null, and returns it with its raw JSON.
    pub(super) fn object<T: DeserializeOwned>(
        &self,
        field: &'static str,
    ) -> Result<(T, &'a RawValue), WireError> {
        let raw = self.raw(field).ok_or(WireError::Missing(field))?;
        Ok((read(field, raw)?, raw))
    }

    /// Parses a required field that is not null.
    pub(super) fn required<T: DeserializeOwned>(
        &self,
        field: &'static str,
    ) -> Result<T, WireError> {
        self.object(field).map(|(value, _)| value)
    }

    /// Parses an optional field; null counts as missing.
    pub(super) fn optional<T: DeserializeOwned>(
        &self,
        field: &'static str,
    ) -> Result<Option<T>, WireError> {
        self.raw(field).map(|raw| read(field, raw)).transpose()
    }

    /// Returns the event's action, if it is text.
    pub(super) fn action(&self) -> Option<String> {
        self.optional("action").ok().flatten()
    }

    /// Returns whether the payload has a field, including null.
    pub(super) fn has(&self, field: &str) -> bool {
        self.fields.contains_key(field)
    }

    fn raw(&self, field: &str) -> Option<&'a RawValue> {
        self.fields
            .get(field)
            .copied()
            .filter(|raw| raw.get() != "null")
    }
}

fn not_an_object(error: &serde_json::Error) -> WireError {
    WireError::NotAnObject {
        line: error.line(),
        column: error.column(),
    }
}

/// Parses a part of a payload or of a list.
pub(super) fn read<T: DeserializeOwned>(
    field: &'static str,
    raw: &RawValue,
) -> Result<T, WireError> {
    read_json(raw.get()).map_err(|error| {
        let text = error.to_string();
        // Only this message of serde is known not to quote the content.
        let detail = match text.split_once(" at line ") {
            Some((message, _)) if message.starts_with("missing field") => message.to_owned(),
            _ => format!("line {}, column {}", error.line(), error.column()),
        };
        WireError::Malformed { field, detail }
    })
}

/// Returns whether a text is a decimal number of an id's length.
pub(super) fn is_decimal_id(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}
