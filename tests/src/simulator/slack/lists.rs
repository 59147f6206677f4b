//! The methods that read, and the few that end something.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::Slack;
use super::api::{Arguments, refusal};
use super::world::{Message, World, parse_stamp, stamp};

/// A method that a workspace's bot calls.
pub(crate) fn method(hub: &Slack, name: &str, arguments: &Arguments, team: &str) -> Value {
    match name {
        "auth.test" => auth_test(hub, team),
        "auth.revoke" => {
            hub.world().installations.remove(team);
            json!({ "ok": true, "revoked": true })
        }
        "apps.uninstall" => {
            hub.uninstall(team);
            json!({ "ok": true })
        }
        "auth.teams.list" => {
            let teams = json!([{ "id": team, "name": hub.world().teams[team].name }]);
            json!({ "ok": true, "teams": teams, "response_metadata": { "next_cursor": "" } })
        }
        "team.info" => {
            let world = hub.world();
            let place = &world.teams[team];
            json!({ "ok": true, "team": { "id": place.id, "name": place.name, "domain": place.domain } })
        }
        "users.info" => match hub.world().users.get(arguments.get("user")) {
            Some(user) => json!({ "ok": true, "user": World::user_json(user) }),
            None => refusal("user_not_found"),
        },
        "bots.info" => json!({ "ok": true, "bot": {
            "id": arguments.get("bot"), "name": "Build", "deleted": false, "updated": 1_700_000_000,
        } }),
        "users.list" => users(hub, arguments, team),
        "users.conversations" => conversations(hub, arguments, team, true),
        "conversations.list" => conversations(hub, arguments, team, false),
        "conversations.info" => in_channel(
            hub,
            arguments,
            team,
            |world, id| json!({ "ok": true, "channel": World::channel_json(&world.channels[id], team) }),
        ),
        "conversations.join" => join(hub, arguments, team),
        "conversations.members" => in_channel(hub, arguments, team, |world, _| {
            json!({ "ok": true, "members": world.teams[team].people,
                    "response_metadata": { "next_cursor": "" } })
        }),
        "conversations.history" => history(hub, arguments, team),
        "conversations.replies" => replies(hub, arguments, team),
        "chat.getPermalink" => permalink(hub, arguments, team),
        _ => refusal("unknown_method"),
    }
}

fn auth_test(hub: &Slack, team: &str) -> Value {
    let world = hub.world();
    let place = &world.teams[team];
    json!({
        "ok": true, "url": format!("https://{}.slack.com/", place.domain), "team": place.name,
        "user": "poblysh", "team_id": place.id, "user_id": place.bot, "bot_id": "B00000001",
        "is_enterprise_install": false,
    })
}

/// A page of a list. Cursors are opaque, belong to their method, and end.
fn paged(
    hub: &Slack,
    method: &str,
    arguments: &Arguments,
    all: Vec<Value>,
    name: &str,
    limit: usize,
) -> Value {
    let now = hub.core.clock.seconds();
    let (life, empty_pages) = {
        let settings = hub.settings();
        (settings.cursor_seconds, settings.empty_pages)
    };
    let start = match arguments.get("cursor") {
        "" => 0,
        cursor => match read_cursor(cursor, method) {
            Some((offset, since)) if now - since < life => offset,
            _ => return refusal("invalid_cursor"),
        },
    };
    let nothing = empty_pages && {
        let mut world = hub.world();
        world.answered += 1;
        world.answered.is_multiple_of(3) && start < all.len()
    };
    let end = if nothing {
        start
    } else {
        (start + limit).min(all.len())
    };
    let next = if end < all.len() {
        URL_SAFE_NO_PAD.encode(format!("{method}|{end}|{now}"))
    } else {
        String::new()
    };
    let rows: Vec<Value> = all.into_iter().skip(start).take(end - start).collect();
    json!({ "ok": true, name: rows, "response_metadata": { "next_cursor": next } })
}

fn read_cursor(cursor: &str, method: &str) -> Option<(usize, i64)> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let mut parts = text.split('|');
    if parts.next()? != method {
        return None;
    }
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn users(hub: &Slack, arguments: &Arguments, team: &str) -> Value {
    let all = hub
        .world()
        .users
        .values()
        .filter(|user| user.team == team)
        .map(World::user_json)
        .collect();
    let limit = arguments.number("limit", 1_000, 1_000);
    paged(hub, "users.list", arguments, all, "members", limit)
}

/// The bot's own channels, or all that it can see.
fn conversations(hub: &Slack, arguments: &Arguments, team: &str, own: bool) -> Value {
    let types = match arguments.get("types") {
        "" => "public_channel",
        types => types,
    };
    let mut shown = Vec::new();
    let all: Vec<Value> = {
        let world = hub.world();
        world
            .channels_of(team)
            .filter(|channel| {
                let member = channel.bots.contains(team);
                let kind = if channel.private {
                    "private_channel"
                } else {
                    "public_channel"
                };
                types.split(',').any(|one| one == kind) && (member || (!own && !channel.private))
            })
            .map(|channel| {
                shown.extend(channel.facts.get(team).copied());
                World::channel_json(channel, team)
            })
            .collect()
    };
    let (method, most) = if own {
        ("users.conversations", 999)
    } else {
        hub.core.ledger.mark_polled(shown);
        ("conversations.list", 1_000)
    };
    let limit = arguments.number("limit", 100, most);
    paged(hub, method, arguments, all, "channels", limit)
}

/// A channel of the workspace.
fn in_channel(
    hub: &Slack,
    arguments: &Arguments,
    team: &str,
    then: impl FnOnce(&World, &str) -> Value,
) -> Value {
    let id = arguments.get("channel");
    let world = hub.world();
    match world.channels.get(id) {
        Some(channel) if channel.teams.iter().any(|one| one == team) => then(&world, id),
        _ => refusal("channel_not_found"),
    }
}

fn join(hub: &Slack, arguments: &Arguments, team: &str) -> Value {
    let id = arguments.get("channel").to_owned();
    let mut world = hub.world();
    match world.channels.get_mut(&id) {
        Some(channel) if channel.teams.iter().any(|one| one == team) && !channel.private => {
            channel.bots.insert(team.to_owned());
            json!({ "ok": true, "channel": World::channel_json(channel, team) })
        }
        Some(_) => refusal("method_not_supported_for_channel_type"),
        None => refusal("channel_not_found"),
    }
}

/// Whether a timestamp lies in the window that the arguments name.
fn window(arguments: &Arguments) -> impl Fn(i64) -> bool {
    let bound = |name: &str| parse_stamp(arguments.get(name));
    let (oldest, latest) = (bound("oldest"), bound("latest"));
    let inclusive = arguments.flag("inclusive") && (oldest.is_some() || latest.is_some());
    move |ts| {
        oldest.is_none_or(|bound| ts > bound || (inclusive && ts == bound))
            && latest.is_none_or(|bound| ts < bound || (inclusive && ts == bound))
    }
}

fn page_size(hub: &Slack, arguments: &Arguments) -> usize {
    if hub.settings().limited {
        arguments.number("limit", 15, 15)
    } else {
        arguments.number("limit", 100, 999)
    }
}

/// Shows messages to a workspace.
fn show(messages: &[&Message], team: &str, shown: &mut Vec<u64>) -> Vec<Value> {
    messages
        .iter()
        .map(|message| {
            shown.extend(message.facts.get(team).into_iter().flatten());
            shown.extend(message.edit_facts.get(team));
            World::message_json(message)
        })
        .collect()
}

fn history(hub: &Slack, arguments: &Arguments, team: &str) -> Value {
    let limit = page_size(hub, arguments);
    let inside = window(arguments);
    let mut shown = Vec::new();
    let answer = in_channel(hub, arguments, team, |world, id| {
        let channel = &world.channels[id];
        if !channel.bots.contains(team) {
            return refusal("not_in_channel");
        }
        let start = match arguments.get("cursor") {
            "" => 0,
            cursor => match read_cursor(cursor, "conversations.history") {
                Some((offset, _)) => offset,
                None => return refusal("invalid_cursor"),
            },
        };
        let all: Vec<&Message> = channel
            .messages
            .values()
            .rev()
            .filter(|message| {
                (message.thread.is_none() || message.subtype == Some("thread_broadcast"))
                    && inside(message.ts)
            })
            .collect();
        let end = (start + limit).min(all.len());
        let rows = show(&all[start.min(end)..end], team, &mut shown);
        let more = end < all.len();
        let next = if more {
            let now = hub.core.clock.seconds();
            URL_SAFE_NO_PAD.encode(format!("conversations.history|{end}|{now}"))
        } else {
            String::new()
        };
        json!({ "ok": true, "messages": rows, "has_more": more, "pin_count": 0,
                "response_metadata": { "next_cursor": next } })
    });
    hub.core.ledger.mark_polled(shown);
    answer
}

fn replies(hub: &Slack, arguments: &Arguments, team: &str) -> Value {
    let limit = page_size(hub, arguments);
    let inside = window(arguments);
    let mut shown = Vec::new();
    let answer = in_channel(hub, arguments, team, |world, id| {
        let channel = &world.channels[id];
        if !channel.bots.contains(team) {
            return refusal("not_in_channel");
        }
        let parent = parse_stamp(arguments.get("ts")).and_then(|ts| channel.messages.get(&ts));
        let Some(parent) = parent else {
            return refusal("thread_not_found");
        };
        let all: Vec<&Message> = parent
            .replies
            .iter()
            .filter(|ts| inside(**ts))
            .filter_map(|ts| channel.messages.get(ts))
            .collect();
        let mut page = vec![parent];
        page.extend(all.iter().take(limit));
        let rows = show(&page, team, &mut shown);
        let more = all.len() > limit;
        json!({ "ok": true, "messages": rows, "has_more": more,
                "response_metadata": { "next_cursor": if more { "bmV4dA" } else { "" } } })
    });
    hub.core.ledger.mark_polled(shown);
    answer
}

fn permalink(hub: &Slack, arguments: &Arguments, team: &str) -> Value {
    let ts = parse_stamp(arguments.get("message_ts"));
    in_channel(hub, arguments, team, |world, id| {
        let channel = &world.channels[id];
        let Some(message) = ts.and_then(|ts| channel.messages.get(&ts)) else {
            return refusal("message_not_found");
        };
        let domain = &world.teams[team].domain;
        let digits = stamp(message.ts).replace('.', "");
        let mut link = format!("https://{domain}.slack.com/archives/{id}/p{digits}");
        if let Some(thread) = message.thread {
            link = format!("{link}?thread_ts={}&cid={id}", stamp(thread));
        }
        json!({ "ok": true, "channel": id, "permalink": link })
    })
}

/// Everybody who sees an event; asked with the app's own token.
pub(crate) fn authorizations(hub: &Slack, arguments: &Arguments) -> Value {
    let seers = hub
        .world()
        .contexts
        .get(arguments.get("event_context"))
        .cloned();
    let Some(seers) = seers else {
        return refusal("invalid_event_context");
    };
    let all =
        {
            let world = hub.world();
            seers
            .iter()
            .filter_map(|team| world.teams.get(team))
            .map(|team| json!({
                "enterprise_id": null, "team_id": team.id, "user_id": team.bot, "is_bot": true,
                "is_enterprise_install": false,
            }))
            .collect()
        };
    let limit = arguments.number("limit", 100, 1_000);
    paged(
        hub,
        "apps.event.authorizations.list",
        arguments,
        all,
        "authorizations",
        limit,
    )
}
