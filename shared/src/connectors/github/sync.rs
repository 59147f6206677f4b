//! Polling: one page of one stream at a time.
//!
//! Every stream remembers its `floor`, the lower bound of its first run: facts before it are
//! never told, facts since then always. A run reads what changed since the `high` mark of the
//! last one minus an overlap, newest first where the list allows it, and moves the mark only
//! when the walk is over. The walk's own position is in the cursor too, so a run that was
//! killed resumes where it stopped. Rows that are read twice have the same identity.
//!
//! The first page of a stream is asked for by the same URL as long as that is possible, with the
//! `ETag` of the last answer: a page that has not changed costs nothing of the quota, and one
//! that has changed costs one request.
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
mod search;
mod stars;
mod updated;

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use http::StatusCode;
use serde_json::value::RawValue;
use url::Url;

use super::client::{Answer, Call, Client, PER_PAGE, Refusal, operator_fault};
use super::normalize::Place;
use crate::connectors::support::{PageContent, earlier, part_before, save_cursor};
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};
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
        // An empty repository; a list that is switched off there. Nothing is on either.
        let is_list = request.stream.key != ROOT;
        if refusal.is(StatusCode::CONFLICT) || (is_list && refusal.is(StatusCode::GONE)) {
            return Ok(SyncPage::empty(request.cursor.clone().unwrap_or_default()));
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

/// Rows per page, from the usual size to what is asked for after many failures. Each divides those
/// before it, so that a walk can change its size between pages.
const PAGE_SIZES: [u64; 5] = [100, 50, 25, 5, 1];

/// The same place in a list, in pages that are smaller the more often GitHub failed to make one; the
/// first failure changes nothing. Where a page begins, its size does not matter: the largest one
/// is chosen that leads to the same row.
fn resized(url: &Url, failures: u32) -> Url {
    let number = |name: &str| -> Option<u64> {
        let (_, value) = url.query_pairs().find(|(key, _)| key == name)?;
        value.parse().ok()
    };
    let Some(size) = number("per_page") else {
        return url.clone();
    };
    let page = number("page");
    let first_row = page.unwrap_or(1).saturating_sub(1).saturating_mul(size);
    let smaller = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
    let wanted = PAGE_SIZES.iter().skip(smaller.min(PAGE_SIZES.len() - 1));
    let Some(new_size) = wanted.copied().find(|size| first_row.is_multiple_of(*size)) else {
        return url.clone();
    };
    if new_size == size {
        return url.clone();
    }
    let pairs: Vec<(String, String)> = url
        .query_pairs()
        .map(|(key, value)| match &*key {
            "per_page" => (key.into_owned(), new_size.to_string()),
            "page" => (key.into_owned(), (first_row / new_size + 1).to_string()),
            _ => (key.into_owned(), value.into_owned()),
        })
        .collect();
    let mut resized = url.clone();
    resized.query_pairs_mut().clear().extend_pairs(pairs);
    resized
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
        self.in_pages(url)
    }

    /// The place that a URL leads to, in pages of a size that GitHub can make. Stars are read from
    /// the end back, where a page that is smaller would skip rows.
    fn in_pages(&self, url: Url) -> Url {
        if self.request.stream.key.starts_with(root::STARGAZERS) {
            return url;
        }
        resized(&url, self.request.failures)
    }

    /// A page whose URL the cursor holds. When the API has moved since, the stream starts
    /// over rather than call where it was.
    fn stored(&self, url: &str) -> Result<Url, ConnectorError> {
        Url::parse(url)
            .ok()
            .filter(|url| self.client.is_ours(url))
            .map(|url| self.in_pages(url))
            .ok_or_else(|| ConnectorError::CursorExpired("the API has moved".into()))
    }

    /// A time of the provider's, but no later than now: a mark in the future would hide what
    /// comes before it.
    fn not_in_the_future(&self, at: DateTime<Utc>) -> DateTime<Utc> {
        at.min(self.client.now())
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
            priority: self.request.priority,
            ..Call::new(
                &self.request.access.account.id,
                operation,
                &self.request.access.token,
            )
        };
        self.client.get(url, call).await
    }
}

/// The last page of a walk, with this content and this cursor behind it.
fn done<C: serde::Serialize>(told: PageContent, cursor: &C) -> Result<SyncPage, Refusal> {
    Ok(SyncPage {
        progress: 1.0,
        ..told.page(save_cursor(cursor)?)
    })
}

/// A page that is not the last one of its walk, `progress` of which is done.
fn walking<C: serde::Serialize>(
    told: PageContent,
    cursor: &C,
    progress: f32,
) -> Result<SyncPage, Refusal> {
    Ok(SyncPage {
        more: true,
        progress,
        ..done(told, cursor)?
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
