//! Files, shared drives and changes as responses show them to a person.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::log::{Change, Removal, Subject};
use super::settings::Settings;
use super::world::{Access, DOCUMENT, File, Place, SharedDrive, World};
use crate::google::people::People;

/// An RFC 3339 time with milliseconds.
pub(super) fn time(milliseconds: i64) -> String {
    DateTime::<Utc>::from_timestamp_millis(milliseconds)
        .unwrap_or_default()
        .to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// View of a person on the world.
pub(super) struct View<'a> {
    pub(super) world: &'a World,
    pub(super) people: &'a People,
    pub(super) settings: &'a Settings,
    /// The person.
    pub(super) sub: &'a str,
}

impl View<'_> {
    fn user(&self, sub: &str) -> Value {
        let person = self.people.get_any(sub);
        let mut user = person.map_or(Value::Null, |person| person.drive_user(self.sub));
        if self.settings.withhold_addresses
            && let Some(fields) = user.as_object_mut()
        {
            fields.remove("emailAddress");
        }
        user
    }

    /// How the file was shared with the person directly.
    pub(super) fn shared_with_me<'f>(&self, file: &'f File) -> Option<&'f Access> {
        let is_my_drive = matches!(file.place, Place::MyDrive(_));
        file.access.get(self.sub).filter(|_| is_my_drive)
    }

    /// A file with every field that Drive fills for this person.
    pub(super) fn file(&self, file: &File) -> Value {
        let mut body = json!({
            "kind": "drive#file", "id": file.id, "name": file.name, "mimeType": file.mime_type,
            "trashed": file.trash.is_some(),
            "explicitlyTrashed": file.trash.as_ref().is_some_and(|trash| trash.is_explicit),
            "starred": file.starred_by.contains(self.sub),
            "createdTime": time(file.created), "modifiedTime": time(file.modified),
            "version": file.version.to_string(), "spaces": ["drive"],
            "lastModifyingUser": self.user(&file.modified_by),
            "webViewLink": web_link(file),
        });
        let is_parent_visible =
            self.world.is_root(&file.parent, self.sub) || self.world.sees(self.sub, &file.parent);
        if is_parent_visible {
            body["parents"] = json!([file.parent]);
        }
        if file.has_bytes() {
            body["size"] = json!((file.version * 1_024).to_string());
            body["headRevisionId"] = json!(file.revision);
            body["originalFilename"] = json!(file.name);
        }
        if let Some((id, mime_type)) = &file.target {
            body["shortcutDetails"] = json!({ "targetId": id, "targetMimeType": mime_type });
        }
        match &file.place {
            Place::Shared(drive) => {
                body["driveId"] = json!(drive);
                body["teamDriveId"] = json!(drive);
                if let Some(trash) = &file.trash {
                    body["trashedTime"] = json!(time(trash.at));
                    if trash.is_explicit {
                        body["trashingUser"] = self.user(&trash.by);
                    }
                }
            }
            Place::MyDrive(owner) => self.add_my_drive_fields(&mut body, file, owner),
        }
        body
    }

    /// Adds the fields that files of shared drives lack.
    fn add_my_drive_fields(&self, body: &mut Value, file: &File, owner: &str) {
        let viewers = self.world.viewers(&file.id);
        body["owners"] = json!([self.user(owner)]);
        body["ownedByMe"] = json!(owner == self.sub);
        body["shared"] = json!(viewers.len() > 1 || !file.foreign.is_empty());
        let people = viewers.iter().filter_map(|sub| self.people.get(sub));
        let permissions: Vec<&String> = people
            .map(|person| &person.permission_id)
            .chain(&file.foreign)
            .collect();
        // Only people who may share the file see its permissions.
        if owner == self.sub {
            body["permissionIds"] = json!(permissions);
        }
        if let Some(access) = self.shared_with_me(file) {
            body["sharedWithMeTime"] = json!(time(access.shared_at));
            body["sharingUser"] = self.user(&access.shared_by);
        }
    }

    /// A change of a log; `None` if the person has no access to its file any more.
    pub(super) fn change(&self, change: &Change, shows_moved_files: bool) -> Option<Value> {
        let mut body = json!({
            "kind": "drive#change", "time": time(change.time),
            "removed": change.removal != Removal::No,
        });
        match &change.subject {
            Subject::File(id) => {
                body["type"] = json!("file");
                body["changeType"] = json!("file");
                body["fileId"] = json!(id);
                let file = self.world.files.get(id);
                let file = file.filter(|file| self.world.sees(self.sub, &file.id));
                match (change.removal, file) {
                    (Removal::No, Some(file)) => body["file"] = self.file(file),
                    (Removal::No, None) => return None,
                    (Removal::Moved, Some(file)) if shows_moved_files => {
                        body["file"] = self.file(file);
                    }
                    _ => {}
                }
            }
            Subject::Drive(id) => {
                body["type"] = json!("drive");
                body["changeType"] = json!("drive");
                body["driveId"] = json!(id);
                body["teamDriveId"] = json!(id);
                if change.removal == Removal::No {
                    body["drive"] = self.world.drives.get(id).map(drive).unwrap_or_default();
                }
            }
        }
        Some(body)
    }
}

/// A shared drive.
pub(super) fn drive(drive: &SharedDrive) -> Value {
    json!({
        "kind": "drive#drive", "id": drive.id, "name": drive.name, "hidden": false,
        "createdTime": time(drive.created),
    })
}

fn web_link(file: &File) -> String {
    let id = &file.id;
    if file.is_folder() {
        format!("https://drive.google.com/drive/folders/{id}")
    } else if file.mime_type == DOCUMENT {
        format!("https://docs.google.com/document/d/{id}/edit?usp=drivesdk")
    } else {
        format!("https://drive.google.com/file/d/{id}/view?usp=drivesdk")
    }
}
