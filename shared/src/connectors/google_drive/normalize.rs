//! Normalization of rows to Signals.
//!
//! The log of changes and the lists of files share these pure functions. A fact whose time lies
//! before the stream's floor is never reported, and each rule reads one row only, so a fact has the
//! same dedupe key on every path. A fact that depends on the viewer has the viewer's
//! permission id in its key.

use chrono::{DateTime, Duration, Utc};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::wire::{Change, File, User, WireError};
use crate::connectors::Directory;
use crate::connectors::google::Timestamp;
use crate::model::{
    Actor, ActorKind, Context, ContextKind, DirectoryKind, ExternalAccount, SignalDraft,
    SignalKind, Subject, TimestampSource,
};

/// Kinds of Signals that this connector emits.
pub(super) const KINDS: &[SignalKind] = &[
    SignalKind::FileCreated,
    SignalKind::FileUpdated,
    SignalKind::FileShared,
    SignalKind::FileTrashed,
    SignalKind::FileRemoved,
];

/// Field of an account's settings with the person's id in Drive.
pub(super) const PERMISSION_ID: &str = "permission_id";

/// Time within which a change of a new file belongs to its creation.
const CREATION: Duration = Duration::seconds(60);
/// End of the address of a program's account.
const SERVICE_ACCOUNT: &str = ".gserviceaccount.com";
/// Name of the drive of a person.
const MY_DRIVE: &str = "My Drive";

/// Account, names and floor, which turn rows into Signals.
pub(super) struct NormalizeContext<'a> {
    /// The person's id in Drive.
    viewer: &'a str,
    /// The shared drive whose log is read; `None` in the person's log.
    drive: Option<&'a str>,
    /// Names of shared drives.
    directory: &'a Directory,
    /// Time before which nothing is reported.
    floor: DateTime<Utc>,
}

/// The parts of a Signal that differ between the kinds.
struct Fact {
    kind: SignalKind,
    key: String,
    at: DateTime<Utc>,
    actor: Actor,
    normalized: Value,
}

impl<'a> NormalizeContext<'a> {
    /// The context of an account's stream.
    pub(super) fn new(
        account: &'a ExternalAccount,
        directory: &'a Directory,
        floor: DateTime<Utc>,
    ) -> Result<Self, WireError> {
        let viewer = account.settings[PERMISSION_ID].as_str();
        let viewer = viewer.filter(|id| !id.is_empty());
        Ok(Self {
            viewer: viewer.ok_or(WireError::Missing("account.permission_id"))?,
            drive: None,
            directory,
            floor,
        })
    }

    /// The same context in the log of a shared drive.
    pub(super) fn in_drive(self, drive: Option<&'a str>) -> Self {
        Self { drive, ..self }
    }

    /// Normalizes a row of a log of changes.
    pub(super) fn change(
        &self,
        change: &Change,
        raw: &RawValue,
    ) -> Result<Vec<SignalDraft>, WireError> {
        // The root stream is read instead.
        if change.is_of_drive() {
            return Ok(Vec::new());
        }
        if change.removed == Some(true) {
            // With the file, it has only left this list.
            return match &change.file {
                Some(_) => Ok(Vec::new()),
                None => self.removed(change, raw),
            };
        }
        let file = change.file.as_ref().ok_or(WireError::Missing("file"))?;
        self.facts(file, change.time, raw)
    }

    /// Normalizes a row of a list of files.
    pub(super) fn file(&self, file: &File, raw: &RawValue) -> Result<Vec<SignalDraft>, WireError> {
        self.facts(file, None, raw)
    }

    /// The facts of a file. `changed` is the time of the change that lists it.
    fn facts(
        &self,
        file: &File,
        changed: Option<Timestamp>,
        raw: &RawValue,
    ) -> Result<Vec<SignalDraft>, WireError> {
        let id = file.id.as_deref().ok_or(WireError::Missing("file.id"))?;
        if file.is_shortcut() {
            return Ok(Vec::new());
        }
        if file.created_time.is_none() {
            return Err(WireError::Missing("file.createdTime"));
        }
        let facts = [
            self.created(file, id, changed),
            self.updated(file, id, changed),
            self.shared(file, id),
            self.trashed(file, id, changed),
        ];
        let signals = facts.into_iter().flatten();
        Ok(signals
            .map(|fact| self.signal(fact, Self::subject(file, id), file.drive_id.as_deref(), raw))
            .collect())
    }

    fn created(&self, file: &File, id: &str, changed: Option<Timestamp>) -> Option<Fact> {
        let created = self.since_floor(file.created_time)?;
        let actor = if changed_at_creation(file, created) {
            actor(file.last_modifying_user.as_ref())
        } else {
            actor(match file.owners.as_slice() {
                [owner] => Some(owner),
                _ => None,
            })
        };
        Some(Fact {
            kind: SignalKind::FileCreated,
            key: format!("file:{id}:created"),
            at: capped(created, changed),
            actor,
            normalized: json!({
                "mime_type": file.mime_type,
                "folder": file.is_folder(),
                "size": size(file),
                "drive_id": file.drive_id,
            }),
        })
    }

    fn updated(&self, file: &File, id: &str, changed: Option<Timestamp>) -> Option<Fact> {
        let modified = self.since_floor(file.modified_time)?;
        let created = file.created_time?;
        if file.is_folder() || modified.0.signed_duration_since(created.0) <= CREATION {
            return None;
        }
        Some(Fact {
            kind: SignalKind::FileUpdated,
            key: format!("file:{id}:modified:{modified}"),
            at: capped(modified, changed),
            actor: actor(file.last_modifying_user.as_ref()),
            normalized: json!({
                "mime_type": file.mime_type,
                "size": size(file),
                "drive_id": file.drive_id,
                "head_revision_id": file.head_revision_id,
            }),
        })
    }

    fn shared(&self, file: &File, id: &str) -> Option<Fact> {
        let shared = self.since_floor(file.shared_with_me_time)?;
        let user = file.sharing_user.as_ref();
        let by = user.filter(|user| user.id.is_some() || user.name.is_some());
        Some(Fact {
            kind: SignalKind::FileShared,
            key: format!("file:{id}:shared:{}:{shared}", self.viewer),
            at: shared.0,
            actor: actor(user),
            normalized: json!({
                "mime_type": file.mime_type,
                "folder": file.is_folder(),
                "shared_by": by.map(|user| json!({ "id": user.id, "name": user.name })),
            }),
        })
    }

    /// My Drive does not state when a file was trashed, so only a change shows it.
    fn trashed(&self, file: &File, id: &str, changed: Option<Timestamp>) -> Option<Fact> {
        if file.trashed != Some(true) || file.explicitly_trashed != Some(true) {
            return None;
        }
        let (key, at) = match file.trashed_time {
            Some(trashed) => (
                format!("file:{id}:trashed:{trashed}"),
                self.since_floor(Some(trashed))?,
            ),
            None => (format!("file:{id}:trashed"), self.since_floor(changed)?),
        };
        Some(Fact {
            kind: SignalKind::FileTrashed,
            key,
            at: at.0,
            actor: actor(file.trashing_user.as_ref()),
            normalized: json!({
                "mime_type": file.mime_type,
                "folder": file.is_folder(),
                "drive_id": file.drive_id,
            }),
        })
    }

    /// A file that was deleted, or to which the person lost access.
    fn removed(&self, change: &Change, raw: &RawValue) -> Result<Vec<SignalDraft>, WireError> {
        let id = change.file_id.as_deref();
        let id = id.ok_or(WireError::Missing("fileId"))?;
        let at = change.time.ok_or(WireError::Missing("time"))?;
        if self.since_floor(Some(at)).is_none() {
            return Ok(Vec::new());
        }
        let drive = change.drive_id.as_deref().or(self.drive);
        let fact = Fact {
            kind: SignalKind::FileRemoved,
            key: format!("file:{id}:removed:{}:{at}", self.viewer),
            at: at.0,
            actor: Actor::unknown(),
            normalized: json!({ "drive_id": drive }),
        };
        let subject = Subject {
            kind: "file".to_owned(),
            id: id.to_owned(),
            key: None,
            title: None,
            url: None,
        };
        Ok(vec![self.signal(fact, subject, drive, raw)])
    }

    fn since_floor(&self, time: Option<Timestamp>) -> Option<Timestamp> {
        time.filter(|time| time.0 >= self.floor)
    }

    fn subject(file: &File, id: &str) -> Subject {
        let kind = if file.is_folder() { "folder" } else { "file" };
        Subject {
            kind: kind.to_owned(),
            id: id.to_owned(),
            key: None,
            title: file.name.clone(),
            url: file.web_view_link.clone(),
        }
    }

    fn context(&self, drive: Option<&str>) -> Context {
        let name = match drive {
            Some(drive) => {
                let entry = self.directory.get(DirectoryKind::Drive, drive);
                entry.and_then(|entry| entry.name.clone())
            }
            None => Some(MY_DRIVE.to_owned()),
        };
        Context {
            kind: ContextKind::Drive,
            id: drive.unwrap_or(self.viewer).to_owned(),
            name,
        }
    }

    fn signal(
        &self,
        fact: Fact,
        subject: Subject,
        drive: Option<&str>,
        raw: &RawValue,
    ) -> SignalDraft {
        let mut normalized = fact.normalized;
        if let Some(fields) = normalized.as_object_mut() {
            fields.retain(|_, value| !value.is_null());
        }
        SignalDraft {
            kind: fact.kind,
            dedupe_key: format!("google_drive:{}", fact.key),
            timestamp: fact.at,
            timestamp_source: TimestampSource::Provider,
            actor: fact.actor,
            subject,
            context: self.context(drive),
            normalized,
            raw: raw.to_owned(),
        }
        .cleaned()
    }
}

/// Whether the last change of a file belongs to its creation.
fn changed_at_creation(file: &File, created: Timestamp) -> bool {
    file.modified_time
        .is_some_and(|modified| modified.0.signed_duration_since(created.0) <= CREATION)
}

/// A time that the uploader states, but never later than the change that shows it.
fn capped(stated: Timestamp, changed: Option<Timestamp>) -> DateTime<Utc> {
    changed.map_or(stated, |changed| stated.min(changed)).0
}

fn size(file: &File) -> Option<u64> {
    file.size.as_ref()?.parse().ok()
}

/// The actor of a user; Drive may hide the address, and some users.
fn actor(user: Option<&User>) -> Actor {
    let user = user.cloned().unwrap_or_default();
    if user.id.is_none() && user.name.is_none() {
        return Actor::unknown();
    }
    let is_program = |address: &str| address.ends_with(SERVICE_ACCOUNT);
    Actor {
        id: user.id,
        name: user.name,
        kind: if user.address.as_deref().is_some_and(is_program) {
            ActorKind::App
        } else {
            ActorKind::User
        },
    }
}
