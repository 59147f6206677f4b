//! Releases.

use serde_json::json;
use serde_json::value::RawValue;

use super::{Envelope, Fact, FactTime, NormalizeContext, RepositoryRef, actor};
use crate::connectors::github::wire::{Release, WireError};
use crate::crypto::sha256;
use crate::model::{Actor, SignalDraft, SignalKind, Subject};

/// The Signal of a `release` delivery.
///
/// The actions `created`, `released`, `prereleased` and `unpublished` duplicate other actions.
pub(super) fn event(
    action: &str,
    context: &NormalizeContext<'_, '_>,
) -> Result<Option<SignalDraft>, WireError> {
    if !matches!(action, "published" | "edited" | "deleted") {
        return Ok(None);
    }
    let repo = context.repo()?;
    let (release, raw) = context.payload.object::<Release>("release")?;
    let signal = match action {
        "published" => published(&repo, &release, raw, &context.envelope()?)?,
        "edited" => {
            let key = edit_key(&release, raw);
            let at = context.time_or_receipt(release.updated_at);
            signal(
                &repo,
                SignalKind::ReleaseEdited,
                &release,
                raw,
                (key, at, context.actor()?),
            )
        }
        _ => {
            let key = format!("release:{}:deleted", release.id);
            let fact = (key, context.receipt_time(), context.actor()?);
            signal(&repo, SignalKind::ReleaseDeleted, &release, raw, fact)
        }
    };
    Ok(Some(signal))
}

/// The dedupe key of an edit.
///
/// Releases have `updated_at` only since 2025, and not on every Enterprise version. Without it, a
/// digest of the release distinguishes the edits.
fn edit_key(release: &Release, raw: &RawValue) -> String {
    release.updated_at.map_or_else(
        || {
            let digest = hex::encode(&sha256(raw.get().as_bytes())[..8]);
            format!("release:{}:edited:{digest}", release.id)
        },
        |at| format!("release:{}:edited:{at}", release.id),
    )
}

/// The Signal of a published release.
pub(in super::super) fn published(
    repo: &RepositoryRef,
    release: &Release,
    raw: &RawValue,
    envelope: &Envelope,
) -> Result<SignalDraft, WireError> {
    let fact = (
        format!("release:{}:published", release.id),
        envelope.time_or_receipt(release.published_at, "release.published_at")?,
        actor(release.author.as_ref().or(envelope.sender.as_ref())),
    );
    Ok(signal(
        repo,
        SignalKind::ReleasePublished,
        release,
        raw,
        fact,
    ))
}

fn signal(
    repo: &RepositoryRef,
    kind: SignalKind,
    release: &Release,
    raw: &RawValue,
    (key, at, actor): (String, FactTime, Actor),
) -> SignalDraft {
    let tag = release.tag_name.as_deref();
    repo.signal(Fact {
        kind,
        key,
        at,
        actor,
        subject: Subject {
            kind: "release".to_owned(),
            id: release.id.to_string(),
            key: tag.and_then(|tag| repo.at(tag)),
            // The name of a release is optional.
            title: release.name.as_deref().or(tag).map(ToOwned::to_owned),
            url: release.html_url.clone(),
        },
        normalized: json!({ "tag": tag, "prerelease": release.prerelease.unwrap_or(false) }),
        raw,
    })
}
