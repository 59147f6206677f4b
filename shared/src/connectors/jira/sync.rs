//! Polling: one page of one stream at a time.
//!
//! The root stream lists projects, statuses and boards, and the desired webhook subscription.
//! Issues, with changes and comments, and worklogs are read for the whole site by the time of
//! their last change. Versions per project and sprints per board have no history, so every run
//! reads all of them.
//!
//! Jira's search index lags, so a run overlaps with the previous one and the cursor never passes
//! the run's upper bound. Lists do not show deletions, so those come from webhooks only.

mod issues;
mod list;
mod root;
mod sprints;
mod versions;
mod worklogs;

use chrono::Duration;

use super::client::{Call, Client};
use super::directory;
use super::normalize::NormalizeContext;
use crate::connectors::error::permanent_error;
use crate::connectors::page::{self, PageContent};
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};
use crate::model::StreamSpec;

/// Key of the root stream.
pub(super) const ROOT: &str = "projects";
const ISSUES: &str = "issues";
const WORKLOGS: &str = "worklogs";
/// Prefix of the key of a project's versions; the project's id follows.
const VERSIONS: &str = "versions:";
/// Key of the stream that shows a denied list of boards.
const BOARDS: &str = "boards";
/// Prefix of the key of a board's sprints; the board's id follows.
const SPRINTS: &str = "sprints:";

/// Overlap of a run with the previous one: the index may show a change minutes later.
const OVERLAP: Duration = Duration::minutes(10);

/// [`OVERLAP`], for the connection's completeness.
pub(super) const READ_LAG: std::time::Duration = std::time::Duration::from_mins(10);

/// Whether dynamic webhooks, which the app registers, report nothing of a stream.
pub(super) fn is_reported_by_administrators_only(stream: &StreamSpec) -> bool {
    matches!(stream.key.as_str(), ROOT | WORKLOGS | BOARDS)
}

/// Reads one page of one stream.
pub(super) async fn read_page(
    client: &Client,
    request: &SyncRequest,
) -> Result<SyncPage, ConnectorError> {
    let key = request.stream.key.as_str();
    if key == ROOT {
        root::read_page(client, request).await
    } else if key == ISSUES {
        issues::read_page(client, request).await
    } else if key == WORKLOGS {
        worklogs::read_page(client, request).await
    } else if key == BOARDS {
        root::read_board_list(client, request).await
    } else if let Some(project) = key.strip_prefix(VERSIONS) {
        versions::read_page(client, request, project).await
    } else if let Some(board) = key.strip_prefix(SPRINTS) {
        sprints::read_page(client, request, board).await
    } else {
        Err(permanent_error("unknown stream"))
    }
}

/// A call with the request's priority.
fn call<'r>(request: &'r SyncRequest, operation: &'static str) -> Call<'r> {
    Call {
        priority: request.priority,
        ..Call::new(&request.access, operation)
    }
}

/// Normalizes with the directory, and looks up missing entries at Jira.
///
/// The category of a status determines a Signal's kind, so a failed lookup fails the page.
async fn with_directory(
    client: &Client,
    request: &SyncRequest,
    normalize: impl Fn(&NormalizeContext<'_>) -> PageContent,
) -> Result<PageContent, ConnectorError> {
    let context = NormalizeContext {
        account: &request.access.account,
        directory: &request.directory,
    };
    page::with_directory(
        request,
        || normalize(&context),
        async |missing| {
            directory::resolve_directory(client, &request.access, missing, request.priority)
                .await
                .map(Some)
        },
    )
    .await
}
