//! Bots, files and reactions, one by one.

use serde_json::{Value, json};

use super::Slack;
use super::api::{Answer, Arguments, refusal};
use super::lists::known;
use super::scopes::{missing, required, workspace};
use super::tokens::Holder;
use super::world::{Channel, Message, World, parse_stamp};

/// The bot of another app, which reports builds.
pub(crate) const BUILDER: &str = "B00000CI1";

impl World {
    /// The id of the app's own bot in an account.
    pub(crate) fn bot_id(account: &str) -> String {
        format!("B{}", &account[1..])
    }
}

pub(crate) fn bot_info(hub: &Slack, arguments: &Arguments, holder: &Holder) -> Answer {
    let world = hub.world();
    world.need(holder, "users:read")?;
    let wanted = required(arguments.get("bot"), "bot")?;
    // Here, an organization's own id will do as well.
    let named = arguments.get("team_id");
    if world.organizations.contains_key(&holder.account) && named != holder.account {
        if named.is_empty() {
            return Err(missing("team_id"));
        }
        workspace(&world, holder, named).map_err(|_| refusal("team_not_found"))?;
    }
    let own = World::bot_id(&holder.account);
    let (name, app, user) = if wanted == own {
        let user = world.bot_of(&holder.account).to_owned();
        ("poblysh", hub.app.id.as_str(), Some(user))
    } else if wanted == BUILDER {
        ("Build", "A00000CI1", None)
    } else {
        return Err(refusal("bot_not_found"));
    };
    let mut bot = json!({
        "id": wanted, "name": name, "app_id": app, "deleted": false, "updated": 1_700_000_000,
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

/// Files that the token's holder can see, with the message that shared each.
fn shared<'w>(
    world: &'w World,
    holder: &'w Holder,
) -> impl Iterator<Item = (&'w Channel, &'w Message)> {
    world
        .channels
        .values()
        .filter(|channel| match &holder.person {
            None => channel.bots.contains(&holder.account),
            Some(_) => world.reaches(&holder.account, channel),
        })
        .flat_map(|channel| {
            let messages = channel.messages.values();
            messages.map(move |message| (channel, message))
        })
        .filter(|(_, message)| message.file.is_some())
}

fn file_json(world: &World, channel: &Channel, message: &Message) -> Value {
    let mut file = World::file_json(message);
    let stamp = super::world::stamp(message.ts);
    file["channels"] = json!([channel.id]);
    file["groups"] = json!([]);
    file["ims"] = json!([]);
    file["shares"] = json!({ "public": { &channel.id: [{
        "ts": stamp, "channel_name": channel.name, "team_id": message.team,
        "reply_users": [], "reply_users_count": 0, "reply_count": 0,
    }] } });
    file["permalink"] = json!(format!(
        "https://{}.slack.com/files/{}",
        world.teams[&message.team].domain,
        file["id"].as_str().unwrap_or_default()
    ));
    file
}

pub(crate) fn file_info(hub: &Slack, arguments: &Arguments, holder: &Holder) -> Answer {
    let world = hub.world();
    world.need(holder, "files:read")?;
    let wanted = required(arguments.get("file"), "file")?;
    let (channel, message) = shared(&world, holder)
        .find(|(_, message)| message.file.as_ref().is_some_and(|file| file.0 == wanted))
        .ok_or_else(|| refusal("file_not_found"))?;
    Ok(json!({
        "ok": true, "file": file_json(&world, channel, message), "comments": [],
        "response_metadata": { "next_cursor": "" },
    }))
}

/// The newest first, in pages that are numbered.
pub(crate) fn files(hub: &Slack, arguments: &Arguments, holder: &Holder) -> Answer {
    let world = hub.world();
    world.need(holder, "files:read")?;
    workspace(&world, holder, arguments.get("team_id"))?;
    let count = arguments.number("count", 100, 1_000);
    let page = arguments.number("page", 1, 100_000);
    let mut all: Vec<_> = shared(&world, holder)
        .filter(|(channel, _)| {
            let wanted = arguments.get("channel");
            wanted.is_empty() || wanted == channel.id
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

/// `reactions.get`: a message with what people thought of it.
pub(crate) fn reactions(hub: &Slack, arguments: &Arguments, holder: &Holder) -> Answer {
    let world = hub.world();
    world.need(holder, "reactions:read")?;
    let channel = known(&world, arguments, holder)?;
    let message = parse_stamp(arguments.get("timestamp"))
        .and_then(|ts| channel.messages.get(&ts))
        .ok_or_else(|| refusal("message_not_found"))?;
    let mut shown = World::message_json(message);
    shown["permalink"] = json!(format!(
        "https://{}.slack.com/archives/{}/p{}",
        world.seen_from(&holder.account, channel).domain,
        channel.id,
        super::world::stamp(message.ts).replace('.', "")
    ));
    Ok(json!({ "ok": true, "type": "message", "channel": channel.id, "message": shown }))
}
