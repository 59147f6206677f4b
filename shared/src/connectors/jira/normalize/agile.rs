//! Sprints and versions.

use chrono::{DateTime, Utc};
use serde_json::json;
use serde_json::value::RawValue;

use super::{Fact, Scene};
use crate::connectors::jira::wire::{Payload, Sprint, Version, WireError, read};
use crate::signals::{Actor, Context, ContextKind, SignalDraft, SignalKind, Subject};

/// A fact about a sprint, `at` being the time of a delivery.
type OfSprint = fn(&Scene<'_>, &Sprint, &RawValue, DateTime<Utc>) -> Result<SignalDraft, WireError>;
/// A fact about a version, `at` being the time of a delivery.
type OfVersion =
    fn(&Scene<'_>, &Version, &RawValue, DateTime<Utc>) -> Result<SignalDraft, WireError>;

/// The Signal of a delivery about a sprint.
pub(super) fn sprint_event(
    scene: &Scene<'_>,
    payload: &Payload<'_>,
    at: DateTime<Utc>,
    fact: OfSprint,
) -> Result<SignalDraft, WireError> {
    let raw = payload.sprint.ok_or(WireError::Missing("sprint"))?;
    fact(scene, &read("sprint", raw)?, raw, at)
}

/// The Signal of a delivery about a version.
pub(super) fn version_event(
    scene: &Scene<'_>,
    payload: &Payload<'_>,
    at: DateTime<Utc>,
    fact: OfVersion,
) -> Result<SignalDraft, WireError> {
    let raw = payload.version.ok_or(WireError::Missing("version"))?;
    fact(scene, &read("version", raw)?, raw, at)
}

/// A sprint was created.
pub(in super::super) fn sprint_created(
    scene: &Scene<'_>,
    sprint: &Sprint,
    raw: &RawValue,
    at: DateTime<Utc>,
) -> Result<SignalDraft, WireError> {
    let at = sprint.created.map_or(at, |moment| moment.0);
    of_sprint(scene, sprint, raw, SignalKind::SprintCreated, "created", at)
}

/// A sprint was started.
pub(in super::super) fn sprint_started(
    scene: &Scene<'_>,
    sprint: &Sprint,
    raw: &RawValue,
    at: DateTime<Utc>,
) -> Result<SignalDraft, WireError> {
    let at = sprint.start.map_or(at, |moment| moment.0);
    of_sprint(scene, sprint, raw, SignalKind::SprintStarted, "started", at)
}

/// A sprint was closed.
pub(in super::super) fn sprint_closed(
    scene: &Scene<'_>,
    sprint: &Sprint,
    raw: &RawValue,
    at: DateTime<Utc>,
) -> Result<SignalDraft, WireError> {
    let at = sprint.complete.map_or(at, |moment| moment.0);
    of_sprint(scene, sprint, raw, SignalKind::SprintClosed, "closed", at)
}

fn of_sprint(
    scene: &Scene<'_>,
    sprint: &Sprint,
    raw: &RawValue,
    kind: SignalKind,
    word: &str,
    at: DateTime<Utc>,
) -> Result<SignalDraft, WireError> {
    let id = sprint.id.clone().ok_or(WireError::Missing("sprint.id"))?;
    let board = sprint.board.as_deref();
    Ok(scene.signal(Fact {
        kind,
        key: format!("sprint:{id}:{word}"),
        at,
        // Jira does not say who.
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
        // A sprint belongs to a board, which may show several projects.
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

/// A version was created. Jira does not say when.
pub(in super::super) fn version_created(
    scene: &Scene<'_>,
    version: &Version,
    raw: &RawValue,
    at: DateTime<Utc>,
) -> Result<SignalDraft, WireError> {
    of_version(
        scene,
        version,
        raw,
        SignalKind::VersionCreated,
        "created",
        at,
    )
}

/// A version was released. The day that Jira has of it is the one that was planned, so the delivery
/// dates it.
pub(in super::super) fn version_released(
    scene: &Scene<'_>,
    version: &Version,
    raw: &RawValue,
    at: DateTime<Utc>,
) -> Result<SignalDraft, WireError> {
    of_version(
        scene,
        version,
        raw,
        SignalKind::VersionReleased,
        "released",
        at,
    )
}

fn of_version(
    scene: &Scene<'_>,
    version: &Version,
    raw: &RawValue,
    kind: SignalKind,
    word: &str,
    at: DateTime<Utc>,
) -> Result<SignalDraft, WireError> {
    let id = version.id.clone().ok_or(WireError::Missing("version.id"))?;
    Ok(scene.signal(Fact {
        kind,
        key: format!("version:{id}:{word}"),
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
