//! The content of a page, and its normalization with the directory.

use std::fmt::Display;

use serde_json::value::RawValue;

use super::rows::UnreadableRows;
use super::{ConnectorError, SyncPage, SyncRequest};
use crate::model::{DirectoryEntry, DirectoryKey, SignalDraft};

/// Content of a page: Signals, unreadable rows and directory updates.
#[derive(Debug, Default)]
pub(super) struct PageContent {
    pub(super) signals: Vec<SignalDraft>,
    pub(super) unreadable: UnreadableRows,
    pub(super) directory_updates: Vec<DirectoryEntry>,
}

impl PageContent {
    /// Adds a row's Signals, or notes the row as unreadable.
    pub(super) fn take<E: Display>(
        &mut self,
        row: &RawValue,
        signals: Result<Vec<SignalDraft>, E>,
    ) {
        self.signals
            .extend(self.unreadable.take(row, signals).into_iter().flatten());
    }

    /// Builds the last page of a run from this content and the cursor after it.
    pub(super) fn into_page(self, cursor: serde_json::Value) -> SyncPage {
        SyncPage {
            signals: self.signals,
            unreadable_rows: self.unreadable.into_rows(),
            directory_updates: self.directory_updates,
            ..SyncPage::empty(cursor)
        }
    }
}

/// Normalizes a page, and again after resolving the entries that the directory lacks.
///
/// Where `resolve_directory` returns `None`, the Signals stay without the missing names.
pub(super) async fn with_directory(
    request: &SyncRequest,
    normalize: impl Fn() -> PageContent,
    resolve_directory: impl AsyncFnOnce(
        &[DirectoryKey],
    ) -> Result<Option<Vec<DirectoryEntry>>, ConnectorError>,
) -> Result<PageContent, ConnectorError> {
    let content = normalize();
    let mut missing = request.directory.take_missing();
    if missing.is_empty() {
        return Ok(content);
    }
    let Some(mut directory_updates) = resolve_directory(&missing).await? else {
        return Ok(content);
    };
    missing.retain(|key| !directory_updates.iter().any(|entry| entry.key == *key));
    directory_updates.extend(missing.into_iter().map(DirectoryEntry::nameless));
    request.directory.add(directory_updates.iter().cloned());
    Ok(PageContent {
        directory_updates,
        ..normalize()
    })
}
