//! Methods of bots, files and reactions.

use serde_json::{Value, json};

use super::Slack;
use super::api::{Arguments, MethodResult, error_json};
use super::lists::find_channel;
use super::scopes::{missing_argument, required, resolve_workspace};
use super::tokens::Holder;
use super::world::{Channel, Message, World, parse_ts};

/// Bot id of another app, which posts build results.
pub(crate) const BUILD_BOT: &str = "B00000CI1";

impl World {
    /// Bot id of the app in an account.
    pub(crate) fn bot_id(account: &str) -> String {
        format!("B{}", &account[1..])
    }
}

pub(crate) fn bot_info(service: &Slack, arguments: &Arguments, holder: &Holder) -> MethodResult {
    let world = service.world();
    world.require_scope(holder, "users:read")?;
    let bot_id = required(arguments.get("bot"), "bot")?;
    // This method also accepts an organization's id.
    let team_id = arguments.get("team_id");
    if world.organizations.contains_key(&holder.account) && team_id != holder.account {
        if team_id.is_empty() {
            return Err(missing_argument("team_id"));
        }
        resolve_workspace(&world, holder, team_id).map_err(|_| error_json("team_not_found"))?;
    }
    let own = World::bot_id(&holder.account);
    let (name, app, user) = if bot_id == own {
        let user = world.bot_of(&holder.account).to_owned();
        ("poblysh", service.app.id.as_str(), Some(user))
    } else if bot_id == BUILD_BOT {
        ("Build", "A00000CI1", None)
    } else {
        return Err(error_json("bot_not_found"));
    };
    let mut bot = json!({
        "id": bot_id, "name": name, "app_id": app, "deleted": false, "updated": 1_700_000_000,
        "icons": {
            "image_36": "https://example.com/36.png", "image_48": "https://example.com/48.png",
            "image_72": "https://example.com/72.png",
        },
    });
    if let Some(user) = user {
        bot["user_id"] = json!(user);
    }
    Ok(json!({ "ok": true, "bot": bot }))
}

/// Files that the token's holder can see, each with the message that shared it.
fn shared_files<'w>(
    world: &'w World,
    holder: &'w Holder,
) -> impl Iterator<Item = (&'w Channel, &'w Message)> {
    world
        .channels
        .values()
        .filter(|channel| match &holder.person {
            None => channel.bots.contains(&holder.account),
            Some(_) => world.covers_channel(&holder.account, channel),
        })
        .flat_map(|channel| {
            let messages = channel.messages.values();
            messages.map(move |message| (channel, message))
        })
        .filter(|(_, message)| message.file.is_some())
}

fn file_json(world: &World, channel: &Channel, message: &Message) -> Value {
    let mut file = World::file_json(message);
    let ts = super::world::format_ts(message.ts);
    file["channels"] = json!([channel.id]);
    file["groups"] = json!([]);
    file["ims"] = json!([]);
    file["shares"] = json!({ "public": { &channel.id: [{
        "ts": ts, "channel_name": channel.name, "team_id": message.team,
        "reply_users": [], "reply_users_count": 0, "reply_count": 0,
    }] } });
    file["permalink"] = json!(format!(
        "https://{}.slack.com/files/{}",
        world.teams[&message.team].domain,
        file["id"].as_str().unwrap_or_default()
    ));
    file
}

pub(crate) fn file_info(service: &Slack, arguments: &Arguments, holder: &Holder) -> MethodResult {
    let world = service.world();
    world.require_scope(holder, "files:read")?;
    let id = required(arguments.get("file"), "file")?;
    let (channel, message) = shared_files(&world, holder)
        .find(|(_, message)| message.file.as_ref().is_some_and(|file| file.0 == id))
        .ok_or_else(|| error_json("file_not_found"))?;
    Ok(json!({
        "ok": true, "file": file_json(&world, channel, message), "comments": [],
        "response_metadata": { "next_cursor": "" },
    }))
}

/// `files.list`: newest first, in numbered pages.
pub(crate) fn files(service: &Slack, arguments: &Arguments, holder: &Holder) -> MethodResult {
    let world = service.world();
    world.require_scope(holder, "files:read")?;
    resolve_workspace(&world, holder, arguments.get("team_id"))?;
    let count = arguments.number("count", 100, 1_000);
    let page = arguments.number("page", 1, 100_000);
    let mut all: Vec<_> = shared_files(&world, holder)
        .filter(|(channel, _)| {
            let requested = arguments.get("channel");
            requested.is_empty() || requested == channel.id
        })
        .collect();
    all.sort_by_key(|(_, message)| std::cmp::Reverse(message.ts));
    let rows: Vec<Value> = all
        .iter()
        .skip((page - 1) * count)
        .take(count)
        .map(|(channel, message)| file_json(&world, channel, message))
        .collect();
    Ok(json!({ "ok": true, "files": rows, "paging": {
        "count": count, "total": all.len(), "page": page,
        "pages": all.len().div_ceil(count).max(1),
    } }))
}

/// `reactions.get`: a message with its reactions.
pub(crate) fn reactions(service: &Slack, arguments: &Arguments, holder: &Holder) -> MethodResult {
    let world = service.world();
    world.require_scope(holder, "reactions:read")?;
    let channel = find_channel(&world, arguments, holder)?;
    let message = parse_ts(arguments.get("timestamp"))
        .and_then(|ts| channel.messages.get(&ts))
        .ok_or_else(|| error_json("message_not_found"))?;
    let mut object = World::message_json(message);
    object["permalink"] = json!(format!(
        "https://{}.slack.com/archives/{}/p{}",
        world.channel_workspace(&holder.account, channel).domain,
        channel.id,
        super::world::format_ts(message.ts).replace('.', "")
    ));
    Ok(json!({ "ok": true, "type": "message", "channel": channel.id, "message": object }))
}
