//! Calls of the Drive API, with their costs, and the error of an expired page token.
//!
//! Source of the costs: "Usage limits" of the Drive API at developers.google.com.

use http::StatusCode;
use url::Url;

use crate::connectors::google::{ApiError, Call, Client};
use crate::connectors::{Access, ConnectorError};
use crate::http::Priority;

/// Scope of changes and of the metadata of files.
pub(super) const METADATA: &str = "https://www.googleapis.com/auth/drive.metadata.readonly";
/// Scope of the list of shared drives, for which Google accepts no narrower one.
pub(super) const READONLY: &str = "https://www.googleapis.com/auth/drive.readonly";

/// Cost of reading one object.
pub(super) const READ: u32 = 5;
/// Cost of a page of a list.
pub(super) const LIST: u32 = 100;
/// Cost of a change, such as a channel.
pub(super) const EDIT: u32 = 50;

/// A call of immediate priority that needs the scope for metadata.
pub(super) const fn call<'a>(access: &'a Access, operation: &'static str, units: u32) -> Call<'a> {
    Call {
        access,
        operation,
        units,
        scope: METADATA,
        priority: Priority::Immediate,
    }
}

/// The URL of a path of the Drive API.
pub(super) fn url(client: &Client, path: &[&str]) -> Url {
    let path: Vec<&str> = ["drive", "v3"].iter().chain(path).copied().collect();
    client.api_url(&path)
}

/// Maps an error of a call with a page token.
///
/// An invalid token has several forms.
pub(super) fn expired_token(error: ApiError) -> ConnectorError {
    let is_invalid = error.is(StatusCode::BAD_REQUEST) && error.code == "invalid";
    if is_invalid || error.is(StatusCode::NOT_FOUND) || error.is(StatusCode::GONE) {
        return error.cause.into_cursor_expired();
    }
    error.into()
}
