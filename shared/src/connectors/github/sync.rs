//! Polling: one page of one stream at a time.
//!
//! A cursor has a `floor`, the stream's: facts from before are skipped. A run reads the changes
//! since the previous run's high-water mark `high`, minus an overlap, newest first if the list
//! allows it, and moves the mark at the end of the walk. A resync begins at the mark of the last
//! complete read. The cursor contains the position of the walk, so a killed run resumes where it
//! stopped. Rows that are read twice yield Signals with the same identity.
//!
//! A run requests the first page by the same URL if possible, with the `ETag` of the last response:
//! an unchanged page does not count against the quota, and a changed one costs one request.
//!
//! An error that concerns one repository (403, 404, 410, 451) is [`ConnectorError::Denied`]; it
//! concerns the stream and not the connection. The status 409 of an empty repository is an empty
//! page.
//!
//! Lists contain the current state only. Reopenings, edits and the person who closed a pull request
//! come from webhooks.

mod cursor;
mod pulls;
mod releases;
mod root;
mod root_cursor;
mod runs;
mod search;
mod stars;
mod updated;

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use http::StatusCode;
use serde_json::value::RawValue;
use url::Url;

use super::client::{ApiError, Call, Client, PER_PAGE, Response, permanent_error};
use super::normalize::RepositoryRef;
use crate::connectors::cursor::{earlier, part_before, save_cursor};
use crate::connectors::page::PageContent;
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};
use cursor::Tag;

/// The root stream.
pub(super) const ROOT: &str = "repositories";

/// Time before the mark at which a run begins: lists lag, and their times are whole seconds.
const OVERLAP: Duration = Duration::seconds(60);

/// Reads a page of a stream.
pub(super) async fn page(
    client: &Client,
    request: &SyncRequest,
) -> Result<SyncPage, ConnectorError> {
    let outcome = if request.stream.key == ROOT {
        root::page(client, request).await
    } else {
        repository_page(&Reader::new(client, request)?).await
    };
    outcome.or_else(|error| {
        // An empty repository, or a list that is disabled there.
        let is_list = request.stream.key != ROOT;
        if error.is(StatusCode::CONFLICT) || (is_list && error.is(StatusCode::GONE)) {
            return Ok(SyncPage::empty(request.cursor.clone().unwrap_or_default()));
        }
        // A page URL from GitHub that is no longer valid.
        let is_stale = error.is(StatusCode::UNPROCESSABLE_ENTITY) && request.cursor.is_some();
        Err(match error.cause {
            ConnectorError::Permanent(source) if is_stale => ConnectorError::CursorExpired(source),
            other => other,
        })
    })
}

async fn repository_page(reader: &Reader<'_>) -> Result<SyncPage, ApiError> {
    let (stream, _) = reader
        .request
        .stream
        .key
        .split_once(':')
        .unwrap_or_default();
    match stream {
        root_cursor::ISSUES => updated::page(reader, &updated::ISSUES).await,
        root_cursor::ISSUE_COMMENTS => updated::page(reader, &updated::ISSUE_COMMENTS).await,
        root_cursor::REVIEW_COMMENTS => updated::page(reader, &updated::REVIEW_COMMENTS).await,
        root_cursor::PULLS => pulls::page(reader).await,
        root_cursor::RELEASES => releases::page(reader).await,
        root_cursor::WORKFLOW_RUNS => runs::page(reader).await,
        root_cursor::STARGAZERS => stars::page(reader).await,
        _ => Err(permanent_error("unknown stream").into()),
    }
}

/// Rows per page, from the default to the size after many failures.
///
/// Each size divides the ones before it, so that a walk can change the size between pages.
const PAGE_SIZES: [u64; 5] = [100, 50, 25, 5, 1];

/// Changes the page size in a list's URL; each failure but the first makes pages smaller.
///
/// It selects the largest size at which the page begins at the same row.
fn with_page_size(url: &Url, failures: u32) -> Url {
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
    let sizes = PAGE_SIZES.iter().skip(smaller.min(PAGE_SIZES.len() - 1));
    let Some(new_size) = sizes.copied().find(|size| first_row.is_multiple_of(*size)) else {
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

/// Reader of a repository's lists for one request.
struct Reader<'r> {
    client: &'r Client,
    request: &'r SyncRequest,
    repo: RepositoryRef,
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
            .ok_or_else(|| permanent_error("the stream's target is not owner/name"))?;
        let id = stream
            .resource_id
            .clone()
            .ok_or_else(|| permanent_error("the stream belongs to no repository"))?;
        Ok(Self {
            client,
            request,
            owner: owner.to_owned(),
            name: name.to_owned(),
            repo: RepositoryRef {
                id,
                name: Some(target.full_name),
                url: target.html_url,
            },
        })
    }

    /// URL of the first page of a list of this repository.
    fn list_url(&self, path: &[&str], query: &[(&str, &str)]) -> Url {
        let mut full = vec!["repos", &self.owner, &self.name];
        full.extend(path);
        let mut url = self.client.api(&full);
        url.query_pairs_mut()
            .extend_pairs(query)
            .append_pair("per_page", PER_PAGE);
        self.resize(url)
    }

    /// Reduces the page size in a URL after failures.
    ///
    /// Stars are read backwards from the end, so that a smaller page would skip rows.
    fn resize(&self, url: Url) -> Url {
        if self.request.stream.key.starts_with(root_cursor::STARGAZERS) {
            return url;
        }
        with_page_size(&url, self.request.failures)
    }

    /// Parses a page URL from the cursor.
    ///
    /// If it does not point to the configured API, the stream starts over.
    fn stored_url(&self, url: &str) -> Result<Url, ConnectorError> {
        Url::parse(url)
            .ok()
            .filter(|url| self.client.is_api_url(url))
            .map(|url| self.resize(url))
            .ok_or_else(|| ConnectorError::CursorExpired("the API's base URL has changed".into()))
    }

    /// Limits a time of the provider to now: a mark in the future would hide facts before it.
    fn clamp_to_now(&self, at: DateTime<Utc>) -> DateTime<Utc> {
        at.min(self.client.now())
    }

    /// Fetches a page, conditionally if there is a tag of the same URL.
    async fn get(
        &self,
        operation: &'static str,
        url: Url,
        tag: Option<&Tag>,
        accept: Option<&'static str>,
    ) -> Result<Response, ApiError> {
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

/// Builds the last page of a walk.
fn last_page<C: serde::Serialize>(content: PageContent, cursor: &C) -> Result<SyncPage, ApiError> {
    Ok(SyncPage {
        progress: 1.0,
        ..content.into_page(save_cursor(cursor)?)
    })
}

/// Builds a page that continues its walk.
fn continued_page<C: serde::Serialize>(
    content: PageContent,
    cursor: &C,
    progress: f32,
) -> Result<SyncPage, ApiError> {
    Ok(SyncPage {
        has_more: true,
        progress,
        ..last_page(content, cursor)?
    })
}

/// Returns the rows of a list as raw JSON.
fn rows(response: &Response) -> Result<Vec<&RawValue>, ConnectorError> {
    response.json()
}

/// Formats a time for a query.
fn query_time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests;
