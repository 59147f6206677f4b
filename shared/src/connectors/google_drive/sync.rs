//! Polling: one page of one stream at a time.
//!
//! The root stream lists shared drives. There is a stream for the log of changes of the person and
//! one for that of each shared drive. A stream that is read for the first time takes the token of
//! its log, then reads the lists of files down to the floor, and then the log from that token, so
//! nothing is lost in between.

mod changes;
mod root;

use crate::connectors::error::permanent_error;
use crate::connectors::google::Client;
use crate::connectors::google_drive::access::{DriveAccess, SHARED_DRIVES};
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};

pub(super) use changes::start_token;

/// Key of the root stream.
pub(super) const ROOT: &str = "drives";
/// Key of the stream of the person's log.
const FILES: &str = "files";
/// Prefix of the key of a shared drive's stream; the drive's id follows.
const DRIVE: &str = "drive:";

/// Reads one page of one stream.
pub(super) async fn read_page(
    client: &Client,
    request: &SyncRequest,
    access: DriveAccess,
    has_pushes: bool,
) -> Result<SyncPage, ConnectorError> {
    match request.stream.key.as_str() {
        ROOT if !access.has_shared_drives() => root::read_files(has_pushes),
        ROOT => root::read_page(client, request, has_pushes).await,
        SHARED_DRIVES => root::check_list(client, request).await,
        FILES => changes::read_page(client, request, None).await,
        key => match drive_of(key) {
            Some(drive) => changes::read_page(client, request, Some(drive)).await,
            None => Err(permanent_error("unknown stream")),
        },
    }
}

/// The shared drive of a stream; `None` for the person's.
pub(super) fn drive_of(key: &str) -> Option<&str> {
    key.strip_prefix(DRIVE)
}
