//! Methods of the API, version 3.

use std::sync::Arc;

use axum::http::Method;
use serde_json::{Value, json};

use super::GoogleDrive;
use crate::google::Google;
use crate::google::api::{Call, Endpoint, Product, Reply};
use crate::google::channels::{ChannelKind, Watched};
use crate::google::error::ApiError;

/// Scopes that allow to read what the simulator serves.
pub(super) const SCOPES: [&str; 4] = [
    "https://www.googleapis.com/auth/drive.metadata.readonly",
    "https://www.googleapis.com/auth/drive.metadata",
    "https://www.googleapis.com/auth/drive.readonly",
    "https://www.googleapis.com/auth/drive",
];

const READ_UNITS: u64 = 5;
const LIST_UNITS: u64 = 100;
const EDIT_UNITS: u64 = 50;

const CHANGES: ChannelKind = ChannelKind {
    name: "changes",
    state: "change",
    default_seconds: 3_600,
    max_seconds: 7 * 24 * 3_600,
};

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
            ("POST", ["changes", "watch"]) => endpoint("drive.changes.watch", EDIT_UNITS, None),
            ("POST", ["channels", "stop"]) => endpoint("drive.channels.stop", EDIT_UNITS, None),
            _ => return None,
        })
    }

    fn respond(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        match call.endpoint.id {
            "drive.about.get" => Ok(Reply::json(self.about(call))),
            "drive.changes.watch" => self.watch(call),
            _ => {
                self.channels.stop(&call.caller.sub, call.body)?;
                Ok(Reply::empty())
            }
        }
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

    fn watch(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        let sub = call.caller.sub.clone();
        let watched = Watched {
            kind: CHANGES,
            resource: format!("changes|{sub}"),
            uri: format!("{}/drive/v3/changes", self.google.base),
            sub,
        };
        let (body, sync) = self.channels.watch(watched, call.body)?;
        Ok(Reply::channel(body, sync))
    }
}
