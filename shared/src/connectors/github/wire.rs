//! GitHub's shapes, as far as we read them.
//!
//! Webhooks and the REST API describe the same objects, so both are read with these types.
//! They are lenient: only identifiers are required, because payloads of a dozen years and
//! of Enterprise versions must pass; what a fact needs beyond that is demanded where the
//! fact is made.

mod account;
mod code;
mod moment;
mod thread;

use std::borrow::Cow;
use std::collections::HashMap;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

pub(super) use account::{
    AppDelivery, Installation, InstallationList, InstallationToken, ListedInstallation,
    OrganizationMembership, Repository, RepositoryList, TokenAnswer, User,
};
pub(super) use code::{
    Commit, CommitComment, Deployment, DeploymentStatus, Named, Push, Release, Stargazer,
    WorkflowRun, WorkflowRunList,
};
pub(super) use moment::{Moment, lenient};
pub(super) use thread::{
    Comment, Discussion, Issue, Label, Milestone, Part, PullRequest, Review, Team,
};

use crate::connectors::ConnectorError;
use crate::connectors::wire::{link, list, read_json, text};

/// Why a payload gives no fact. It names the place and never quotes the content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum WireError {
    /// The body is not a JSON object.
    #[error("the payload is not a JSON object (line {line}, column {column})")]
    NotAnObject {
        /// Where reading stopped.
        line: usize,
        /// Where reading stopped.
        column: usize,
    },
    /// A field without which there is no fact.
    #[error("the payload has no field `{0}`")]
    Missing(&'static str),
    /// A field that is not of the documented form.
    #[error("the payload's field `{field}` is not of the documented form ({why})")]
    Malformed {
        /// The top-level field.
        field: &'static str,
        /// The part within it, as far as it is known.
        why: String,
    },
}

impl From<WireError> for ConnectorError {
    fn from(error: WireError) -> Self {
        Self::Permanent(error.into())
    }
}

/// A webhook's body: its top-level fields, unread until they are asked for.
pub(super) struct Payload<'a> {
    whole: &'a str,
    fields: HashMap<Cow<'a, str>, &'a RawValue>,
}

impl<'a> Payload<'a> {
    /// Reads the outermost object only.
    pub(super) fn parse(body: &'a str) -> Result<Self, WireError> {
        match serde_json::from_str(body) {
            Ok(fields) => Ok(Self {
                whole: body,
                fields,
            }),
            Err(error) => Err(not_an_object(&error)),
        }
    }

    /// The whole payload, for events that have no object of their own.
    pub(super) fn whole<T: DeserializeOwned>(&self) -> Result<T, WireError> {
        read("payload", self.raw_whole()?)
    }

    /// The whole payload's bytes.
    pub(super) fn raw_whole(&self) -> Result<&'a RawValue, WireError> {
        serde_json::from_str(self.whole).map_err(|error| not_an_object(&error))
    }

    /// A field that must be there and not null, with its bytes.
    pub(super) fn object<T: DeserializeOwned>(
        &self,
        field: &'static str,
    ) -> Result<(T, &'a RawValue), WireError> {
        let raw = self.raw(field).ok_or(WireError::Missing(field))?;
        Ok((read(field, raw)?, raw))
    }

    /// A field that must be there and not null.
    pub(super) fn required<T: DeserializeOwned>(
        &self,
        field: &'static str,
    ) -> Result<T, WireError> {
        self.object(field).map(|(value, _)| value)
    }

    /// A field that may be missing or null.
    pub(super) fn optional<T: DeserializeOwned>(
        &self,
        field: &'static str,
    ) -> Result<Option<T>, WireError> {
        self.raw(field).map(|raw| read(field, raw)).transpose()
    }

    /// The event's action; an action that is not text is none we know.
    pub(super) fn action(&self) -> Option<String> {
        self.optional("action").ok().flatten()
    }

    /// Whether the payload has a field, be it null.
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

/// Reads a part of a payload or of a list.
pub(super) fn read<T: DeserializeOwned>(
    field: &'static str,
    raw: &RawValue,
) -> Result<T, WireError> {
    read_json(raw.get()).map_err(|error| {
        let text = error.to_string();
        // Only this message of serde's is known not to quote the content.
        let why = match text.split_once(" at line ") {
            Some((what, _)) if what.starts_with("missing field") => what.to_owned(),
            _ => format!("line {}, column {}", error.line(), error.column()),
        };
        WireError::Malformed { field, why }
    })
}

/// Whether a text is a decimal number that GitHub could use as an id.
pub(super) fn decimal(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}
