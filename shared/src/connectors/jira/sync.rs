//! Polling: one page of one stream at a time.
//!
//! The root stream lists the projects, the site's statuses and its boards, and says what there
//! must be a webhook for. Issues are read site-wide by the time of their last change, with their
//! histories and comments; worklogs by theirs; versions per project and sprints per board are
//! states without a history, so every run reads all of them.
//!
//! Jira's index lags, so a run begins well before the mark of the last one and the mark never
//! passes the moment at which a run began. Deletions leave nothing behind; only webhooks tell.

mod issues;
mod root;
mod sprints;
mod versions;
mod worklogs;

use chrono::Duration;

use super::client::{Call, Client};
use super::names;
use super::normalize::Scene;
use crate::connectors::support::{self, PageContent, operator_fault};
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};

/// The stream that lists the others.
pub(super) const ROOT: &str = "projects";
const ISSUES: &str = "issues";
const WORKLOGS: &str = "worklogs";
/// Before a project's id.
const VERSIONS: &str = "versions:";
/// The list of boards, where it was denied.
const BOARDS: &str = "boards";
/// Before a board's id.
const SPRINTS: &str = "sprints:";

/// How far behind its mark a run begins: a change may show in the index minutes later.
const OVERLAP: Duration = Duration::minutes(10);

/// The same, for those who want to know how far a site has been read.
pub(super) const VISIBLE_AFTER: std::time::Duration = std::time::Duration::from_mins(10);

/// One page of one stream.
pub(super) async fn page(
    client: &Client,
    request: &SyncRequest,
) -> Result<SyncPage, ConnectorError> {
    let key = request.stream.key.as_str();
    if key == ROOT {
        root::page(client, request).await
    } else if key == ISSUES {
        issues::page(client, request).await
    } else if key == WORKLOGS {
        worklogs::page(client, request).await
    } else if key == BOARDS {
        root::board_list(client, request).await
    } else if let Some(project) = key.strip_prefix(VERSIONS) {
        versions::page(client, request, project).await
    } else if let Some(board) = key.strip_prefix(SPRINTS) {
        sprints::page(client, request, board).await
    } else {
        Err(operator_fault("Jira has no such stream"))
    }
}

/// A call of this request.
fn call<'r>(request: &'r SyncRequest, operation: &'static str) -> Call<'r> {
    Call {
        priority: request.priority,
        ..Call::new(&request.access, operation)
    }
}

/// Normalizes with what the directory knows or Jira says. What a status means decides on the
/// kind of a Signal, so nothing is told before that is known.
async fn with_directory(
    client: &Client,
    request: &SyncRequest,
    normalize: impl Fn(&Scene<'_>) -> PageContent,
) -> Result<PageContent, ConnectorError> {
    let scene = Scene {
        account: &request.access.account,
        directory: &request.directory,
    };
    support::with_directory(
        request,
        || normalize(&scene),
        async |missing| {
            names::look_up(client, &request.access, missing, request.priority)
                .await
                .map(Some)
        },
    )
    .await
}
