//! Releases.

use serde_json::json;
use serde_json::value::RawValue;

use super::{Envelope, Fact, Place, Scene, When, actor};
use crate::connectors::github::wire::{Release, WireError};
use crate::crypto::sha256;
use crate::signals::{Actor, SignalDraft, SignalKind, Subject};

/// The Signal of a `release` delivery. `created`, `released`, `prereleased` and
/// `unpublished` are echoes of what other actions say.
pub(super) fn event(action: &str, scene: &Scene<'_, '_>) -> Result<Option<SignalDraft>, WireError> {
    if !matches!(action, "published" | "edited" | "deleted") {
        return Ok(None);
    }
    let place = scene.place()?;
    let (release, raw) = scene.payload.object::<Release>("release")?;
    let signal = match action {
        "published" => published(&place, &release, raw, &scene.envelope()?)?,
        "edited" => {
            let key = edit_key(&release, raw);
            let at = scene.when(release.updated_at);
            signal(
                &place,
                SignalKind::ReleaseEdited,
                &release,
                raw,
                (key, at, scene.actor()?),
            )
        }
        _ => {
            let key = format!("release:{}:deleted", release.id);
            let fact = (key, scene.receipt(), scene.actor()?);
            signal(&place, SignalKind::ReleaseDeleted, &release, raw, fact)
        }
    };
    Ok(Some(signal))
}

/// Releases have `updated_at` only since 2025, and not on every Enterprise version. Where
/// it is missing, the release's own bytes tell one edit from another.
fn edit_key(release: &Release, raw: &RawValue) -> String {
    release.updated_at.map_or_else(
        || {
            let digest = hex::encode(&sha256(raw.get().as_bytes())[..8]);
            format!("release:{}:edited:{digest}", release.id)
        },
        |at| format!("release:{}:edited:{at}", release.id),
    )
}

/// A release was published.
pub(in super::super) fn published(
    place: &Place,
    release: &Release,
    raw: &RawValue,
    envelope: &Envelope,
) -> Result<SignalDraft, WireError> {
    let fact = (
        format!("release:{}:published", release.id),
        envelope.when(release.published_at, "release.published_at")?,
        actor(release.author.as_ref().or(envelope.sender.as_ref())),
    );
    Ok(signal(
        place,
        SignalKind::ReleasePublished,
        release,
        raw,
        fact,
    ))
}

fn signal(
    place: &Place,
    kind: SignalKind,
    release: &Release,
    raw: &RawValue,
    (key, at, actor): (String, When, Actor),
) -> SignalDraft {
    let tag = release.tag_name.as_deref();
    place.signal(Fact {
        kind,
        key,
        at,
        actor,
        subject: Subject {
            kind: "release".to_owned(),
            id: release.id.to_string(),
            key: tag.and_then(|tag| place.at(tag)),
            // A release need not have a name.
            title: release.name.as_deref().or(tag).map(ToOwned::to_owned),
            url: release.html_url.clone(),
        },
        normalized: json!({ "tag": tag, "prerelease": release.prerelease.unwrap_or(false) }),
        raw,
    })
}
