//! The end of a page: the next state of its stream, and the problems that it may have.

use chrono::TimeDelta;
use shared::connectors::ConnectorError;
use shared::model::JobError;

use super::run::PageEnd;
use crate::failure::error;

/// Maximum delay with which a provider shows a fact.
pub(super) const MAX_LATENESS: TimeDelta = TimeDelta::hours(1);

pub(super) fn end_of(has_more: bool, end: PageEnd) -> PageEnd {
    if has_more { PageEnd::HasMore } else { end }
}

/// The message for a stream that cannot be read.
pub(super) const fn stream_problem(error: &ConnectorError) -> &'static str {
    match error {
        ConnectorError::Permission(_) => "The provider denies permission to read the stream.",
        ConnectorError::CursorExpired(_) => "The provider rejects every cursor of the stream.",
        ConnectorError::Transient(_) => "The provider fails temporarily.",
        _ => "The provider's response is invalid. The log has the cause.",
    }
}

/// The error of a pass that may not read a part of its stream.
pub(super) fn denial_of(part: &str) -> JobError {
    error(
        "permission",
        &format!("The provider denies permission to read {part}."),
    )
}
