//! The methods of changes: start token, list, and watch.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::GoogleDrive;
use super::log::{Change, LogOwner, Logs, Removal, Subject, TokenError};
use super::render::View;
use crate::google::api::{Call, Reply};
use crate::google::channels::{ChannelKind, Watched};
use crate::google::error::ApiError;

/// Page size without the parameter, and its maximum.
const DEFAULT_PAGE_SIZE: usize = 100;
const MAX_PAGE_SIZE: usize = 1_000;

const CHANGES: ChannelKind = ChannelKind {
    name: "changes",
    state: "change",
    default_seconds: 3_600,
    max_seconds: 7 * 24 * 3_600,
};

/// The log that a request names.
fn log_owner(service: &GoogleDrive, call: &Call<'_>) -> Result<LogOwner, ApiError> {
    let sub = &call.caller.sub;
    let Some(drive) = call.text("driveId") else {
        return Ok(LogOwner::Person(sub.clone()));
    };
    let is_member = {
        let world = service.world();
        world.is_member(sub, drive)
    };
    if !is_member || !call.flag("supportsAllDrives")? {
        let message = format!("Shared drive not found: {drive}");
        return Err(ApiError::not_found(message).at_parameter("driveId"));
    }
    Ok(LogOwner::Drive(drive.to_owned()))
}

fn invalid_token(error: TokenError) -> ApiError {
    let (status, reason, message) = match error.status {
        404 => (StatusCode::NOT_FOUND, "notFound", "Not Found"),
        410 => (StatusCode::GONE, "gone", "Page token expired"),
        _ => (StatusCode::BAD_REQUEST, "invalid", "Invalid Value"),
    };
    ApiError::new(status, reason, message).at_parameter("pageToken")
}

/// Position of the request's page token.
fn position(service: &GoogleDrive, call: &Call<'_>, owner: &LogOwner) -> Result<u64, ApiError> {
    let Some(token) = call.text("pageToken") else {
        let message = "Required parameter: pageToken";
        let error = ApiError::new(StatusCode::BAD_REQUEST, "required", message);
        return Err(error.at_parameter("pageToken"));
    };
    let world = service.world();
    world.logs.position(owner, token).map_err(invalid_token)
}

/// Number of the caller's grant.
fn grant_number(service: &GoogleDrive, call: &Call<'_>) -> Option<u64> {
    let state = service.google.state();
    state.tokens.grant_number(&call.caller.sub)
}

pub(super) fn start_page_token(service: &GoogleDrive, call: &Call<'_>) -> Result<Reply, ApiError> {
    let owner = log_owner(service, call)?;
    let grant = grant_number(service, call);
    let mut guard = service.world();
    let world = &mut *guard;
    let end = world.logs.end();
    if let LogOwner::Person(sub) = &owner {
        // A client requests a full sync, which does not show the changes that it has read, nor
        // those before it had a token. It may also ask for a channel, and read on at its position;
        // `list` hides the changes that it passes over.
        let first = if world.logs.has_token(&owner, grant) {
            world.logs.read_to(&owner)
        } else {
            end
        };
        let ledger = &service.google.core.ledger;
        world.facts.hide_changes_before(ledger, sub, first);
    }
    let token = world.logs.start_token(&owner, grant);
    Ok(Reply::json(
        json!({ "kind": "drive#startPageToken", "startPageToken": token }),
    ))
}

/// Options of a list of changes.
#[expect(clippy::struct_excessive_bools, reason = "independent parameters")]
struct Options {
    includes_shared: bool,
    includes_removed: bool,
    shows_moved_files: bool,
    only_my_drive: bool,
}

impl Options {
    fn parse(call: &Call<'_>) -> Result<Self, ApiError> {
        let includes_removed = match call.text("includeRemoved") {
            None => true,
            Some(_) => call.flag("includeRemoved")?,
        };
        Ok(Self {
            includes_shared: call.flag("supportsAllDrives")?
                && call.flag("includeItemsFromAllDrives")?,
            includes_removed,
            shows_moved_files: call.flag("includeCorpusRemovals")?,
            only_my_drive: call.flag("restrictToMyDrive")?,
        })
    }

    /// The change as the list of this log shows it; `None` if it does not.
    fn render(&self, view: &View<'_>, owner: &LogOwner, change: &Change) -> Option<Value> {
        let change = match owner {
            LogOwner::Drive(_) => change.clone(),
            LogOwner::Person(_) => change.in_person_list(self.includes_shared)?,
        };
        if change.removal != Removal::No && !self.includes_removed {
            return None;
        }
        if let Subject::File(id) = &change.subject
            && self.only_my_drive
            && let Some(file) = view.world.files.get(id)
            && file.owner() != Some(view.sub)
        {
            return None;
        }
        view.change(&change, self.shows_moved_files)
    }
}

pub(super) fn list(service: &GoogleDrive, call: &Call<'_>) -> Result<Reply, ApiError> {
    let owner = log_owner(service, call)?;
    let from = position(service, call, &owner)?;
    let options = Options::parse(call)?;
    let max = service.settings().max_page_size.clamp(1, MAX_PAGE_SIZE);
    let size = call.page_size("pageSize", DEFAULT_PAGE_SIZE, max)?;
    let grant = grant_number(service, call);
    let mut guard = service.world();
    let world = &mut *guard;
    if let LogOwner::Person(sub) = &owner
        && call.text("pageToken").is_some_and(Logs::is_start)
    {
        let ledger = &service.google.core.ledger;
        world.facts.hide_changes_before(ledger, sub, from);
    }
    let (mut rows, mut next) = (Vec::new(), None);
    {
        let state = service.google.state();
        let settings = service.settings();
        let view = View {
            world,
            people: &state.people,
            settings: &settings,
            sub: &call.caller.sub,
        };
        for (position, change) in world.logs.since(&owner, from) {
            let Some(row) = options.render(&view, &owner, change) else {
                continue;
            };
            if rows.len() == size {
                next = Some(position);
                break;
            }
            rows.push(row);
        }
    }
    let mut body = json!({ "kind": "drive#changeList", "changes": rows });
    let (name, position) = match next {
        Some(position) => ("nextPageToken", position),
        None => ("newStartPageToken", world.logs.end().max(from)),
    };
    body[name] = json!(world.logs.token(&owner, position, grant));
    world.logs.note_read(&owner, from);
    Ok(Reply::json(body))
}

pub(super) fn watch(service: &GoogleDrive, call: &Call<'_>) -> Result<Reply, ApiError> {
    let owner = log_owner(service, call)?;
    position(service, call, &owner)?;
    let names = [
        "driveId",
        "includeItemsFromAllDrives",
        "pageToken",
        "supportsAllDrives",
    ];
    let query = names
        .iter()
        .filter_map(|name| Some((name, call.text(name)?)));
    let query: Vec<String> = query
        .map(|(name, value)| format!("&{name}={value}"))
        .collect();
    let base = &service.google.base;
    let uri = format!("{base}/drive/v3/changes?alt=json{}", query.concat());
    let watched = Watched {
        kind: CHANGES,
        sub: call.caller.sub.clone(),
        resource: owner.resource(),
        uri,
    };
    let (body, sync) = service.channels.watch(watched, call.body)?;
    Ok(Reply::channel(body, sync))
}
