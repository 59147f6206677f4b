//! The end of a page: the next state of its stream, and the problems that it may have.

use chrono::TimeDelta;
use shared::connectors::{ConnectorError, MissingScope};
use shared::model::JobError;

use super::run::PageEnd;
use crate::failure::error;

/// Maximum delay with which a provider shows a fact.
pub(super) const MAX_LATENESS: TimeDelta = TimeDelta::hours(1);

pub(super) fn end_of(has_more: bool, end: PageEnd) -> PageEnd {
    if has_more { PageEnd::HasMore } else { end }
}

/// The message for a stream that cannot be read.
pub(super) fn stream_problem(error: &ConnectorError) -> String {
    if let ConnectorError::Denied { source, .. } = error
        && let Some(MissingScope(scope)) = source.downcast_ref()
    {
        return format!(
            "The grant lacks the scope {scope}. Connect the account again and allow it."
        );
    }
    match error {
        ConnectorError::Denied { .. } => "The provider denies permission to read the stream.",
        ConnectorError::CursorExpired(_) => "The provider rejects every cursor of the stream.",
        ConnectorError::Transient(_) => "The provider fails temporarily.",
        _ => "The provider's response is invalid. The log has the cause.",
    }
    .to_owned()
}

/// The error of a pass that may not read a part of its stream.
pub(super) fn denial_of(part: &str) -> JobError {
    error(
        "permission",
        &format!("The provider denies permission to read {part}."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_scope_is_named() {
        let denied = ConnectorError::denied(MissingScope("events.read")).of_stream("events:1");
        assert!(stream_problem(&denied).contains("events.read"));
        let other = ConnectorError::denied("403");
        assert!(stream_problem(&other).starts_with("The provider denies permission"));
    }
}
