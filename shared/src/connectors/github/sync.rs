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
//! concerns the stream and not the connection. A list counts as empty only if GitHub proves it: by the
//! message of an empty Git repository, or by the repository's row that says that it has no issues.
//! An error of the root stream is always an error.
//!
//! Lists contain the current state only. Reopenings, edits and the person who closed a pull request
//! come from webhooks.

mod cursor;
mod names;
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

use super::client::{ApiError, Call, Client, PER_PAGE, Response, own_message, permanent_error};
use super::normalize::RepositoryRef;
use super::page_size::{with_page_size, with_page_size_backwards};
use super::wire::Repository;
use crate::connectors::cursor::{earlier, part_before, save_cursor};
use crate::connectors::page::PageContent;
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};
use cursor::Tag;
pub(super) use names::Names;

/// The root stream.
pub(super) const ROOT: &str = "repositories";

/// Time before the mark at which a run begins: lists lag, and their times are whole seconds.
const OVERLAP: Duration = Duration::seconds(60);

/// Streams of data in Git, which an empty repository does not have.
const GIT_STREAMS: [&str; 3] = [
    root_cursor::PULLS,
    root_cursor::RELEASES,
    root_cursor::WORKFLOW_RUNS,
];

/// Message of GitHub's 409 for a repository without commits.
const EMPTY_REPOSITORY: &str = "Git Repository is empty";

/// Reads a page of a stream.
pub(super) async fn page(
    client: &Client,
    names: &Names,
    request: &SyncRequest,
) -> Result<SyncPage, ConnectorError> {
    let outcome = if request.stream.key == ROOT {
        root::page(client, names, request).await
    } else {
        let reader = Reader::new(client, names, request)?;
        let outcome = repository_page(&reader).await;
        match outcome {
            Err(error) if reader.is_proved_empty(&error) => {
                return Ok(SyncPage::empty(request.cursor.clone().unwrap_or_default()));
            }
            outcome => outcome,
        }
    };
    outcome.map_err(|error| {
        // A page URL from GitHub that is no longer valid.
        let is_stale = error.is(StatusCode::UNPROCESSABLE_ENTITY) && request.cursor.is_some();
        match error.cause {
            ConnectorError::Permanent(source) if is_stale => ConnectorError::CursorExpired(source),
            other => other,
        }
    })
}

async fn repository_page(reader: &Reader<'_>) -> Result<SyncPage, ApiError> {
    reader.verify_name().await?;
    match reader.kind() {
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

/// Reader of a repository's lists for one request.
struct Reader<'r> {
    client: &'r Client,
    names: &'r Names,
    request: &'r SyncRequest,
    repo: RepositoryRef,
    full_name: String,
    owner: String,
    name: String,
    /// Whether the repository's row says that it has no issues.
    has_no_issues: bool,
}

impl<'r> Reader<'r> {
    fn new(
        client: &'r Client,
        names: &'r Names,
        request: &'r SyncRequest,
    ) -> Result<Self, ConnectorError> {
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
            names,
            request,
            full_name: target.full_name.clone(),
            owner: owner.to_owned(),
            name: name.to_owned(),
            has_no_issues: target.has_issues == Some(false),
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
        self.resize(&url)
    }

    /// Kind of the stream: the part of its key before the colon.
    fn kind(&self) -> &str {
        let key = &self.request.stream.key;
        key.split_once(':').unwrap_or_default().0
    }

    /// Returns whether an error proves that the list is empty.
    fn is_proved_empty(&self, error: &ApiError) -> bool {
        let is_empty_repository = || {
            GIT_STREAMS.contains(&self.kind())
                && own_message(error).is_some_and(|message| message.starts_with(EMPTY_REPOSITORY))
        };
        (error.is(StatusCode::CONFLICT) && is_empty_repository())
            || (error.is(StatusCode::GONE)
                && self.kind() == root_cursor::ISSUE_COMMENTS
                && self.has_no_issues)
    }

    /// Verifies that the stream's name still belongs to the stream's repository.
    async fn verify_name(&self) -> Result<(), ApiError> {
        let account = &self.request.access.account.id;
        if let Some(owner) = self.names.owner(account, &self.full_name) {
            return Ok(self.verify_repository(owner)?);
        }
        let url = self.client.api(&["repos", &self.owner, &self.name]);
        let response = self.get("get_repository", url, None, None).await?;
        let repository: Repository = response.json()?;
        self.names.note(account, &self.full_name, repository.id);
        Ok(self.verify_repository(repository.id)?)
    }

    /// Verifies that a response or a row belongs to the stream's repository.
    fn verify_repository(&self, id: u64) -> Result<(), ConnectorError> {
        if self.repo.id.parse::<u64>() == Ok(id) {
            return Ok(());
        }
        let account = &self.request.access.account.id;
        self.names.note(account, &self.full_name, id);
        Err(ConnectorError::denied(format!(
            "the name {} belongs to repository {id} and no longer to {}",
            self.full_name, self.repo.id
        )))
    }

    /// Reduces the page size in a URL after failures.
    ///
    /// Stars are read backwards from the end.
    fn resize(&self, url: &Url) -> Url {
        if self.kind() == root_cursor::STARGAZERS {
            return with_page_size_backwards(url, self.request.failures);
        }
        with_page_size(url, self.request.failures)
    }

    /// Parses a page URL from the cursor.
    ///
    /// If it does not point to the configured API, the stream starts over.
    fn stored_url(&self, url: &str) -> Result<Url, ConnectorError> {
        Url::parse(url)
            .ok()
            .filter(|url| self.client.is_api_url(url))
            .map(|url| self.resize(&url))
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
        let response = self.client.get(url, call).await?;
        let links = response.links();
        let urls = [
            Some(&response.url),
            links.next.as_ref(),
            links.prev.as_ref(),
            links.last.as_ref(),
        ];
        for id in urls.into_iter().flatten().filter_map(names::id_in_url) {
            self.verify_repository(id)?;
        }
        Ok(response)
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
