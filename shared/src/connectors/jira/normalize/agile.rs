//! Sprints and versions.

use chrono::{DateTime, Utc};
use serde_json::json;
use serde_json::value::RawValue;

use super::{Fact, NormalizeContext};
use crate::connectors::jira::wire::{Payload, Sprint, Version, WireError, read};
use crate::model::{Actor, Context, ContextKind, SignalDraft, SignalKind, Subject};

/// Normalizes a sprint, with the delivery's time as the fallback.
type NormalizeSprint =
    fn(&NormalizeContext<'_>, &Sprint, &RawValue, DateTime<Utc>) -> Result<SignalDraft, WireError>;
/// Normalizes a version, with the delivery's time.
type NormalizeVersion =
    fn(&NormalizeContext<'_>, &Version, &RawValue, DateTime<Utc>) -> Result<SignalDraft, WireError>;

/// Normalizes a delivery about a sprint.
pub(super) fn sprint_event(
    context: &NormalizeContext<'_>,
    payload: &Payload<'_>,
    at: DateTime<Utc>,
    normalize: NormalizeSprint,
) -> Result<SignalDraft, WireError> {
    let raw = payload.sprint.ok_or(WireError::Missing("sprint"))?;
    normalize(context, &read("sprint", raw)?, raw, at)
}

/// Normalizes a delivery about a version.
pub(super) fn version_event(
    context: &NormalizeContext<'_>,
    payload: &Payload<'_>,
    at: DateTime<Utc>,
    normalize: NormalizeVersion,
) -> Result<SignalDraft, WireError> {
    let raw = payload.version.ok_or(WireError::Missing("version"))?;
    normalize(context, &read("version", raw)?, raw, at)
}

/// Normalizes a sprint to `sprint_created`.
pub(in super::super) fn sprint_created(
    context: &NormalizeContext<'_>,
    sprint: &Sprint,
    raw: &RawValue,
    at: DateTime<Utc>,
) -> Result<SignalDraft, WireError> {
    let at = sprint.created.map_or(at, |timestamp| timestamp.0);
    sprint_signal(
        context,
        sprint,
        raw,
        SignalKind::SprintCreated,
        "created",
        at,
    )
}

/// Normalizes a sprint to `sprint_started`.
pub(in super::super) fn sprint_started(
    context: &NormalizeContext<'_>,
    sprint: &Sprint,
    raw: &RawValue,
    at: DateTime<Utc>,
) -> Result<SignalDraft, WireError> {
    let at = sprint.start.map_or(at, |timestamp| timestamp.0);
    sprint_signal(
        context,
        sprint,
        raw,
        SignalKind::SprintStarted,
        "started",
        at,
    )
}

/// Normalizes a sprint to `sprint_closed`.
pub(in super::super) fn sprint_closed(
    context: &NormalizeContext<'_>,
    sprint: &Sprint,
    raw: &RawValue,
    at: DateTime<Utc>,
) -> Result<SignalDraft, WireError> {
    let at = sprint.complete.map_or(at, |timestamp| timestamp.0);
    sprint_signal(context, sprint, raw, SignalKind::SprintClosed, "closed", at)
}

fn sprint_signal(
    context: &NormalizeContext<'_>,
    sprint: &Sprint,
    raw: &RawValue,
    kind: SignalKind,
    change: &str,
    at: DateTime<Utc>,
) -> Result<SignalDraft, WireError> {
    let id = sprint.id.clone().ok_or(WireError::Missing("sprint.id"))?;
    let board = sprint.board.as_deref();
    Ok(context.signal(Fact {
        kind,
        key: format!("sprint:{id}:{change}"),
        at,
        // Jira does not send the actor.
        actor: Actor::unknown(),
        normalized: json!({
            "sprint_id": id, "board_id": sprint.board, "goal": sprint.goal,
        }),
        subject: Subject {
            kind: "sprint".to_owned(),
            id,
            key: None,
            title: sprint.name.clone(),
            url: None,
        },
        // A sprint belongs to a board, which may cover several projects.
        context: Context {
            kind: ContextKind::Project,
            id: board
                .map(|board| format!("board:{board}"))
                .unwrap_or_default(),
            name: None,
        },
        raw,
    }))
}

/// Normalizes a version to `version_created`, with the time `at`.
///
/// Jira has no creation time of a version.
pub(in super::super) fn version_created(
    context: &NormalizeContext<'_>,
    version: &Version,
    raw: &RawValue,
    at: DateTime<Utc>,
) -> Result<SignalDraft, WireError> {
    version_signal(
        context,
        version,
        raw,
        SignalKind::VersionCreated,
        "created",
        at,
    )
}

/// Normalizes a version to `version_released`, with the time `at`.
///
/// Jira has only the planned date of a release.
pub(in super::super) fn version_released(
    context: &NormalizeContext<'_>,
    version: &Version,
    raw: &RawValue,
    at: DateTime<Utc>,
) -> Result<SignalDraft, WireError> {
    version_signal(
        context,
        version,
        raw,
        SignalKind::VersionReleased,
        "released",
        at,
    )
}

fn version_signal(
    context: &NormalizeContext<'_>,
    version: &Version,
    raw: &RawValue,
    kind: SignalKind,
    change: &str,
    at: DateTime<Utc>,
) -> Result<SignalDraft, WireError> {
    let id = version.id.clone().ok_or(WireError::Missing("version.id"))?;
    Ok(context.signal(Fact {
        kind,
        key: format!("version:{id}:{change}"),
        at,
        actor: Actor::unknown(),
        normalized: json!({ "version_id": id, "release_date": version.release_date }),
        subject: Subject {
            kind: "version".to_owned(),
            id,
            key: None,
            title: version.name.clone(),
            url: None,
        },
        context: Context {
            kind: ContextKind::Project,
            id: version.project.clone().unwrap_or_default(),
            name: None,
        },
        raw,
    }))
}
