//! The methods of files and shared drives: list and get.

use serde_json::json;

use super::GoogleDrive;
use super::order::{self, Order};
use super::query::{Candidate, Query};
use super::render::{self, View};
use super::world::File;
use crate::google::api::{Call, Reply};
use crate::google::error::ApiError;

/// Page size of files without the parameter, and its maximum.
const DEFAULT_PAGE_SIZE: usize = 100;
const MAX_PAGE_SIZE: usize = 1_000;
/// The same of shared drives.
const DEFAULT_DRIVES: usize = 10;
const MAX_DRIVES: usize = 100;

/// Files that a list covers.
enum Corpus<'a> {
    MyDrive,
    Drive(&'a str),
    All,
}

impl<'a> Corpus<'a> {
    fn parse(call: &'a Call<'_>) -> Result<Self, ApiError> {
        let includes_shared =
            call.flag("supportsAllDrives")? && call.flag("includeItemsFromAllDrives")?;
        match (call.text("corpora"), call.text("driveId")) {
            (Some("drive"), Some(drive)) if includes_shared => Ok(Self::Drive(drive)),
            (None | Some("user" | "domain"), None) if !includes_shared => Ok(Self::MyDrive),
            (None | Some("user" | "domain" | "allDrives"), None) if includes_shared => {
                Ok(Self::All)
            }
            (_, Some(_)) => Err(ApiError::invalid_parameter("driveId")),
            _ => Err(ApiError::invalid_parameter("corpora")),
        }
    }

    fn covers(&self, file: &File) -> bool {
        match self {
            Self::MyDrive => file.drive().is_none(),
            Self::Drive(drive) => file.drive() == Some(drive),
            Self::All => true,
        }
    }
}

pub(super) fn list(service: &GoogleDrive, call: &Call<'_>) -> Result<Reply, ApiError> {
    let (q, order_by) = (call.text("q"), call.text("orderBy").unwrap_or_default());
    let query = match q.filter(|q| !q.trim().is_empty()) {
        None => Query::All,
        Some(q) => Query::parse(q).ok_or_else(|| ApiError::invalid_parameter("q"))?,
    };
    let order = Order::parse(order_by).ok_or_else(|| ApiError::invalid_parameter("orderBy"))?;
    let corpus = Corpus::parse(call)?;
    let max = service.settings().max_page_size.clamp(1, MAX_PAGE_SIZE);
    let size = call.page_size("pageSize", DEFAULT_PAGE_SIZE, max)?;
    let drive = call.text("driveId").unwrap_or_default();
    let name = format!("{}|{order_by}|{drive}", q.unwrap_or_default());
    let after = call.text("pageToken").map(|token| {
        let position = order::parse_token(token, &name);
        position.ok_or_else(|| ApiError::invalid_parameter("pageToken"))
    });
    let after = after.transpose()?;
    let sub = &call.caller.sub;
    let mut guard = service.world();
    let world = &mut *guard;
    let root = world.root(sub);
    if let Corpus::Drive(drive) = corpus
        && !world.is_member(sub, drive)
    {
        let message = format!("Shared drive not found: {drive}");
        return Err(ApiError::not_found(message).at_parameter("driveId"));
    }
    let state = service.google.state();
    let settings = service.settings();
    let view = View {
        world,
        people: &state.people,
        settings: &settings,
        sub,
    };
    let mut found = Vec::new();
    let visible = match corpus {
        Corpus::Drive(drive) => world.files_of_drive(drive),
        _ => world.visible_files(sub),
    };
    for file in visible.into_iter().filter(|file| corpus.covers(file)) {
        let owner = file.owner().and_then(|owner| state.people.get(owner));
        let candidate = Candidate {
            file,
            sub,
            shared_with_me: view.shared_with_me(file).map(|access| access.shared_at),
            owner: owner.map(|person| person.address.as_str()),
            root: &root,
        };
        let position = order.position(&candidate);
        let is_later = after
            .as_ref()
            .is_none_or(|after| order.compare(&position, after).is_gt());
        if is_later && query.accepts(&candidate) {
            found.push((position, file));
        }
    }
    found.sort_by(|(left, _), (right, _)| order.compare(left, right));
    let has_more = found.len() > size;
    found.truncate(size);
    let rows: Vec<_> = found.iter().map(|(_, file)| view.file(file)).collect();
    let mut body = json!({
        "kind": "drive#fileList", "incompleteSearch": false, "files": rows,
    });
    if let Some((last, _)) = found.pop().filter(|_| has_more) {
        body["nextPageToken"] = json!(order::token(last, &name));
    }
    Ok(Reply::json(body))
}

pub(super) fn get(service: &GoogleDrive, call: &Call<'_>, id: &str) -> Result<Reply, ApiError> {
    let supports_shared = call.flag("supportsAllDrives")?;
    let sub = &call.caller.sub;
    let world = service.world();
    let file = world
        .files
        .get(id)
        .filter(|file| world.sees(sub, id) && (file.drive().is_none() || supports_shared));
    let Some(file) = file else {
        let error = ApiError::not_found(format!("File not found: {id}."));
        return Err(error.at_parameter("fileId"));
    };
    let state = service.google.state();
    let settings = service.settings();
    let view = View {
        world: &world,
        people: &state.people,
        settings: &settings,
        sub,
    };
    Ok(Reply::json(view.file(file)))
}

/// Shared drives of the person, by name.
pub(super) fn list_drives(service: &GoogleDrive, call: &Call<'_>) -> Result<Reply, ApiError> {
    let max = service.settings().max_page_size.clamp(1, MAX_DRIVES);
    let size = call.page_size("pageSize", DEFAULT_DRIVES, max)?;
    let after = call.text("pageToken").unwrap_or_default();
    let world = service.world();
    // The page token is the id of the last drive on the page.
    let mut drives = world
        .drives_of(&call.caller.sub)
        .filter(|drive| drive.id.as_str() > after);
    let rows: Vec<_> = drives.by_ref().take(size).collect();
    let mut body = json!({
        "kind": "drive#driveList",
        "drives": rows.iter().map(|drive| render::drive(drive)).collect::<Vec<_>>(),
    });
    if let (Some(last), Some(_)) = (rows.last(), drives.next()) {
        body["nextPageToken"] = json!(last.id);
    }
    Ok(Reply::json(body))
}

pub(super) fn get_drive(
    service: &GoogleDrive,
    call: &Call<'_>,
    id: &str,
) -> Result<Reply, ApiError> {
    let world = service.world();
    let drive = world.drives_of(&call.caller.sub).find(|one| one.id == id);
    let drive = drive.ok_or_else(|| {
        ApiError::not_found(format!("Shared drive not found: {id}")).at_parameter("driveId")
    })?;
    Ok(Reply::json(render::drive(drive)))
}
