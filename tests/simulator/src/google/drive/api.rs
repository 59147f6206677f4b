//! Methods of the API, version 3.

use std::sync::Arc;

use axum::http::Method;
use serde_json::{Value, json};

use super::facts;
use super::{GoogleDrive, changes, files};
use crate::google::Google;
use crate::google::api::{Call, Endpoint, Product, Reply};
use crate::google::error::ApiError;

/// Scopes that allow to read what the simulator serves.
pub(super) const SCOPES: [&str; 4] = [
    "https://www.googleapis.com/auth/drive.metadata.readonly",
    "https://www.googleapis.com/auth/drive.metadata",
    "https://www.googleapis.com/auth/drive.readonly",
    "https://www.googleapis.com/auth/drive",
];
/// Scopes of shared drives, which the metadata's scopes do not include.
const DRIVES_SCOPES: [&str; 2] = [SCOPES[2], SCOPES[3]];

/// Units of methods that read one object, list objects, or change something.
const READ_UNITS: u64 = 5;
const LIST_UNITS: u64 = 100;
const EDIT_UNITS: u64 = 50;

/// Fields of a file and a shared drive without the parameter `fields`.
const FILE: &str = "kind,id,name,mimeType,driveId,teamDriveId";
const DRIVE: &str = "kind,id,name";

const fn endpoint(id: &'static str, units: u64, default_fields: Option<&'static str>) -> Endpoint {
    Endpoint {
        id,
        units,
        scopes: &SCOPES,
        default_fields,
        requires_fields: false,
    }
}

impl Product for GoogleDrive {
    const SERVICE: &'static str = "drive.googleapis.com";
    const ROOT: &'static str = "/drive/v3";
    const BATCH: &'static [&'static str] = &["/batch/drive/v3"];

    fn google(&self) -> &Arc<Google> {
        &self.google
    }

    fn endpoint(&self, method: &Method, parts: &[&str]) -> Option<Endpoint> {
        Some(match (method.as_str(), parts) {
            ("GET", ["about"]) => Endpoint {
                requires_fields: true,
                ..endpoint("drive.about.get", READ_UNITS, None)
            },
            ("GET", ["changes", "startPageToken"]) => {
                endpoint("drive.changes.getStartPageToken", READ_UNITS, None)
            }
            ("GET", ["changes"]) => endpoint(
                "drive.changes.list",
                LIST_UNITS,
                Some(
                    "kind,nextPageToken,newStartPageToken,changes(kind,removed,time,type,changeType,\
                     fileId,driveId,teamDriveId,drive(kind,id,name),\
                     file(kind,id,name,mimeType,driveId,teamDriveId))",
                ),
            ),
            ("POST", ["changes", "watch"]) => endpoint("drive.changes.watch", EDIT_UNITS, None),
            ("POST", ["channels", "stop"]) => endpoint("drive.channels.stop", EDIT_UNITS, None),
            ("GET", ["files"]) => endpoint(
                "drive.files.list",
                LIST_UNITS,
                Some(
                    "kind,nextPageToken,incompleteSearch,\
                     files(kind,id,name,mimeType,driveId,teamDriveId)",
                ),
            ),
            ("GET", ["files", _]) => endpoint("drive.files.get", READ_UNITS, Some(FILE)),
            ("GET", ["drives"]) => Endpoint {
                scopes: &DRIVES_SCOPES,
                ..endpoint(
                    "drive.drives.list",
                    LIST_UNITS,
                    Some("kind,nextPageToken,drives(kind,id,name)"),
                )
            },
            ("GET", ["drives", _]) => Endpoint {
                scopes: &DRIVES_SCOPES,
                ..endpoint("drive.drives.get", READ_UNITS, Some(DRIVE))
            },
            _ => return None,
        })
    }

    fn respond(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        match (call.endpoint.id, call.parts) {
            ("drive.about.get", _) => Ok(Reply::json(self.about(call))),
            ("drive.changes.getStartPageToken", _) => changes::start_page_token(self, call),
            ("drive.changes.list", _) => changes::list(self, call),
            ("drive.changes.watch", _) => changes::watch(self, call),
            ("drive.files.list", _) => files::list(self, call),
            ("drive.files.get", [_, id]) => files::get(self, call, id),
            ("drive.drives.list", _) => files::list_drives(self, call),
            ("drive.drives.get", [_, id]) => files::get_drive(self, call, id),
            _ => {
                self.channels.stop(&call.caller.sub, call.body)?;
                Ok(Reply::empty())
            }
        }
    }

    /// Marks the facts of the received rows as shown.
    fn received(&self, call: &Call<'_>, body: &Value) {
        let sub = call.caller.sub.as_str();
        let Some(person) = self.google.person(sub) else {
            return;
        };
        let rows = |name: &str| body[name].as_array().into_iter().flatten();
        let permission = person.permission_id.as_str();
        let facts: Vec<_> = match call.endpoint.id {
            "drive.changes.list" => rows("changes")
                .flat_map(|change| facts::of_change(change, permission))
                .collect(),
            "drive.files.list" => rows("files")
                .flat_map(|file| facts::of_file(file, permission, None))
                .collect(),
            "drive.files.get" => facts::of_file(body, permission, None),
            _ => return,
        };
        let world = self.world();
        let rows = world.facts.rows(sub, facts);
        self.google.core.ledger.mark_polled(rows);
    }
}

impl GoogleDrive {
    fn about(&self, call: &Call<'_>) -> Value {
        let sub = &call.caller.sub;
        let person = self.google.person(sub);
        json!({
            "kind": "drive#about", "user": person.map(|person| person.drive_user(sub)),
            "storageQuota": { "limit": "16106127360", "usage": "0", "usageInDrive": "0" },
        })
    }
}
