//! Polling: one page of one stream at a time.
//!
//! Every stream remembers its `floor`, the horizon of its first run: facts before it are
//! never told, facts since then always. A run reads what changed since the `high` mark of
//! the last one minus an overlap, up to the run's frozen bound, and moves the mark only
//! when the walk is over; the walk's own position is in the cursor too, so a run that was
//! killed goes on where it stopped. Rows that are read twice have the same identity.
//!
//! A refusal that concerns one repository (403, 404, 410, 451) is
//! [`ConnectorError::Permission`] and retires that stream, not the connection; the root
//! stream tells what is left. An answer of 409, an empty repository, is an empty page.
//!
//! Not everything is visible here: lists show things as they are now. What they do not show
//! (reopenings, edits, who closed a pull request) only webhooks tell.

mod cursor;
mod pulls;
mod releases;
mod root;
mod runs;
mod stars;
mod updated;

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use http::StatusCode;
use serde_json::value::RawValue;
use url::Url;

use super::client::{Answer, Call, Client, PER_PAGE, Refusal, operator_fault};
use super::normalize::Place;
use crate::connectors::support::{earlier, later};
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};
use crate::signals::SignalDraft;
use cursor::Tag;

/// The stream that lists the others.
pub(super) const ROOT: &str = "repositories";

/// How far behind its mark a run begins: lists lag, and their times are whole seconds.
const OVERLAP: Duration = Duration::seconds(60);

/// One page of one stream.
pub(super) async fn page(
    client: &Client,
    request: &SyncRequest,
) -> Result<SyncPage, ConnectorError> {
    let outcome = if request.stream.key == ROOT {
        root::page(client, request).await
    } else {
        repository_page(&Reader::new(client, request)?).await
    };
    outcome.or_else(|refusal| {
        if refusal.is(StatusCode::CONFLICT) {
            return Ok(SyncPage {
                signals: Vec::new(),
                cursor: request.cursor.clone().unwrap_or_default(),
                more: false,
                streams: Vec::new(),
                subscriptions: Vec::new(),
                learned: Vec::new(),
            });
        }
        // A page URL that GitHub gave and no longer understands.
        let stale = refusal.is(StatusCode::UNPROCESSABLE_ENTITY) && request.cursor.is_some();
        Err(match refusal.error {
            ConnectorError::Permanent(source) if stale => ConnectorError::CursorExpired(source),
            other => other,
        })
    })
}

async fn repository_page(reader: &Reader<'_>) -> Result<SyncPage, Refusal> {
    let (stream, _) = reader
        .request
        .stream
        .key
        .split_once(':')
        .unwrap_or_default();
    match stream {
        root::ISSUES => updated::page(reader, &updated::ISSUES).await,
        root::ISSUE_COMMENTS => updated::page(reader, &updated::ISSUE_COMMENTS).await,
        root::REVIEW_COMMENTS => updated::page(reader, &updated::REVIEW_COMMENTS).await,
        root::PULLS => pulls::page(reader).await,
        root::RELEASES => releases::page(reader).await,
        root::WORKFLOW_RUNS => runs::page(reader).await,
        root::STARGAZERS => stars::page(reader).await,
        _ => Err(operator_fault("GitHub has no such stream").into()),
    }
}

/// A repository's lists, as one request reads them.
struct Reader<'r> {
    client: &'r Client,
    request: &'r SyncRequest,
    place: Place,
    owner: String,
    name: String,
}

impl<'r> Reader<'r> {
    fn new(client: &'r Client, request: &'r SyncRequest) -> Result<Self, ConnectorError> {
        let stream = &request.stream;
        let target: root::Target = serde_json::from_value(stream.target.clone())
            .map_err(|error| ConnectorError::Permanent(error.into()))?;
        let (owner, name) = target
            .full_name
            .split_once('/')
            .ok_or_else(|| operator_fault("the stream's target is not owner/name"))?;
        let id = stream
            .resource_id
            .clone()
            .ok_or_else(|| operator_fault("the stream belongs to no repository"))?;
        Ok(Self {
            client,
            request,
            owner: owner.to_owned(),
            name: name.to_owned(),
            place: Place {
                id,
                name: Some(target.full_name),
                url: target.html_url,
            },
        })
    }

    /// A list of this repository, from its first page on.
    fn list(&self, path: &[&str], query: &[(&str, &str)]) -> Url {
        let mut full = vec!["repos", &self.owner, &self.name];
        full.extend(path);
        let mut url = self.client.api(&full);
        url.query_pairs_mut()
            .extend_pairs(query)
            .append_pair("per_page", PER_PAGE);
        url
    }

    /// A page whose URL the cursor holds. When the API has moved since, the stream starts
    /// over rather than call where it was.
    fn stored(&self, url: &str) -> Result<Url, ConnectorError> {
        Url::parse(url)
            .ok()
            .filter(|url| self.client.is_ours(url))
            .ok_or_else(|| ConnectorError::CursorExpired("the API has moved".into()))
    }

    /// Reads a page; with the tag of the last answer from the same URL, if there is one.
    async fn get(
        &self,
        operation: &'static str,
        url: Url,
        tag: Option<&Tag>,
        accept: Option<&'static str>,
    ) -> Result<Answer, Refusal> {
        let etag = tag
            .filter(|tag| tag.url == url.as_str())
            .map(|tag| tag.etag.as_str());
        let call = Call {
            accept,
            etag,
            ..Call::new(
                &self.request.access.account.id,
                operation,
                &self.request.access.token,
            )
        };
        self.client.get(url, call).await
    }
}

/// A page with these Signals and this cursor behind it.
fn done<C: serde::Serialize>(
    signals: Vec<SignalDraft>,
    cursor: &C,
    more: bool,
) -> Result<SyncPage, Refusal> {
    let cursor =
        serde_json::to_value(cursor).map_err(|error| ConnectorError::Permanent(error.into()))?;
    Ok(SyncPage {
        signals,
        cursor,
        more,
        streams: Vec::new(),
        subscriptions: Vec::new(),
        learned: Vec::new(),
    })
}

/// The rows of a list, each with its bytes.
fn rows(answer: &Answer) -> Result<Vec<&RawValue>, ConnectorError> {
    answer.json()
}

/// A time as queries want it.
fn query_time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests;
