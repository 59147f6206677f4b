//! The end of a page: the next state of its stream, and the problems that it may have.

use chrono::TimeDelta;
use shared::connectors::{ConnectorError, MissingScope, SyncPage};
use shared::model::JobError;

use super::run::PageEnd;
use crate::failure::error;

/// Maximum delay with which a provider shows a fact.
pub(super) const MAX_LATENESS: TimeDelta = TimeDelta::hours(1);

pub(super) fn end_of(has_more: bool, end: PageEnd) -> PageEnd {
    if has_more { PageEnd::HasMore } else { end }
}

/// The error of a stream that cannot be read, and the last call for it.
pub(super) fn stream_problem(
    failure: &ConnectorError,
    last_call: Option<&'static str>,
) -> JobError {
    if let ConnectorError::Denied { source, .. } = failure
        && let Some(MissingScope(scope)) = source.downcast_ref()
    {
        let message =
            format!("The grant lacks the scope {scope}. Connect the account again and allow it.");
        return JobError {
            scope: Some((*scope).to_owned()),
            ..error(failure.code(), &message)
        };
    }
    let message = match failure {
        ConnectorError::Denied { .. } => "The provider denies permission to read the stream.",
        ConnectorError::CursorExpired(_) => "The provider rejects every cursor of the stream.",
        ConnectorError::Transient(_) => "The provider fails temporarily.",
        ConnectorError::Unauthorized(_) => "The provider rejects the token for this stream.",
        _ => "The provider's response is invalid. The log has the cause.",
    };
    JobError {
        operation: last_call.map(str::to_owned),
        ..error(failure.code(), message)
    }
}

/// The error of a pass that may not read a part of its stream.
fn denial_of(part: &str) -> JobError {
    error(
        "permission",
        &format!("The provider denies permission to read {part}."),
    )
}

/// The error of a pass that could not read a part of its stream, if any.
pub(super) fn part_problem(page: &SyncPage) -> Option<JobError> {
    let failing = || {
        let message = format!("The provider fails to return {}.", page.failing_part?);
        Some(error("transient", &message))
    };
    page.denied_part.map(denial_of).or_else(failing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failing_part_is_no_denial() {
        let page = |denied_part, failing_part| SyncPage {
            denied_part,
            failing_part,
            ..SyncPage::empty(serde_json::Value::Null)
        };
        let code = |page| part_problem(&page).map(|problem| problem.code);
        assert_eq!(code(page(None, None)), None);
        assert_eq!(
            code(page(None, Some("reviews"))).as_deref(),
            Some("transient")
        );
        let denied = page(Some("replies"), Some("reviews"));
        assert_eq!(code(denied).as_deref(), Some("permission"));
    }

    #[test]
    fn missing_scope_is_named() {
        let denied = ConnectorError::denied(MissingScope("events.read")).of_stream("events:1");
        let problem = stream_problem(&denied, None);
        assert!(problem.message.contains("events.read"));
        assert_eq!(problem.scope.as_deref(), Some("events.read"));
        let other = stream_problem(&ConnectorError::denied("403"), Some("list_events"));
        assert!(other.message.starts_with("The provider denies permission"));
        assert_eq!(
            (other.scope, other.operation.as_deref()),
            (None, Some("list_events"))
        );
    }
}
