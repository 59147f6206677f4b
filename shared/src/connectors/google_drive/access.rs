//! The access to files that people are asked for.

use super::client::{METADATA, READONLY};
use crate::connectors::StreamScope;
use crate::connectors::google::{EMAIL, OPENID, Product};
use crate::connectors::settings::AppReader;

/// Key of the stream that shows that the list of shared drives is denied.
pub(super) const SHARED_DRIVES: &str = "shared_drives";

const SETTING: &str = "GOOGLE_DRIVE_SCOPE";

const ACCESS: &str = "see information about your Google Drive files";

/// Everything that is read of files needs this scope only.
static FILES: Product = Product {
    scopes: &[OPENID, EMAIL, METADATA],
    needed: &[METADATA],
    access: ACCESS,
};

/// Google accepts no narrower scope for the list of shared drives. A person may withhold it.
static WITH_SHARED_DRIVES: Product = Product {
    scopes: &[OPENID, EMAIL, METADATA, READONLY],
    needed: &[METADATA],
    access: ACCESS,
};

/// The list of shared drives needs a scope of its own.
const STREAM_SCOPES: &[StreamScope] = &[StreamScope {
    kind: SHARED_DRIVES,
    scope: READONLY,
}];

/// Access to Drive. No content of a file is read, with either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriveAccess {
    /// The person's files and those shared with the person.
    Files,
    /// Also the files of shared drives.
    SharedDrives,
}

impl DriveAccess {
    /// Reads the setting.
    pub(super) fn read(reader: &mut AppReader<'_, '_>) -> Self {
        match reader.defaulted(SETTING).as_deref() {
            None | Some("readonly") => Self::SharedDrives,
            Some("metadata") => Self::Files,
            Some(_) => {
                reader.problem(SETTING, "must be `readonly` or `metadata`");
                Self::SharedDrives
            }
        }
    }

    /// The scopes to ask for.
    pub(super) const fn product(self) -> &'static Product {
        match self {
            Self::Files => &FILES,
            Self::SharedDrives => &WITH_SHARED_DRIVES,
        }
    }

    /// The scopes that the streams need.
    pub(super) const fn stream_scopes(self) -> &'static [StreamScope] {
        match self {
            Self::Files => &[],
            Self::SharedDrives => STREAM_SCOPES,
        }
    }

    /// Whether the list of shared drives is read.
    pub(super) const fn has_shared_drives(self) -> bool {
        matches!(self, Self::SharedDrives)
    }
}
