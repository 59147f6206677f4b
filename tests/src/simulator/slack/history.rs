//! Messages, as they are read: a channel's own, a thread's, and the link to one.

use serde_json::{Value, json};

use super::Slack;
use super::api::{Answer, Arguments, refusal};
use super::lists::{cursor, is_in, known, read_cursor};
use super::scopes::required;
use super::tokens::Holder;
use super::world::{Channel, Message, World, parse_stamp, stamp};

/// Whether a timestamp lies in the window that the arguments name.
fn window(arguments: &Arguments) -> Result<impl Fn(i64) -> bool + use<>, Value> {
    let bound = |name: &str| match arguments.get(name) {
        "" => Ok(None),
        text => match parse_stamp(text) {
            Some(ts) => Ok(Some(ts)),
            None => Err(refusal(&format!("invalid_ts_{name}"))),
        },
    };
    let (oldest, latest) = (bound("oldest")?, bound("latest")?);
    let inclusive = arguments.flag("inclusive") && (oldest.is_some() || latest.is_some());
    Ok(move |ts| {
        oldest.is_none_or(|bound| ts > bound || (inclusive && ts == bound))
            && latest.is_none_or(|bound| ts < bound || (inclusive && ts == bound))
    })
}

fn page_size(hub: &Slack, arguments: &Arguments) -> Result<usize, Value> {
    if hub.settings().limited {
        arguments.limit(15, 15)
    } else {
        arguments.limit(100, 999)
    }
}

/// A channel whose messages the token's holder may read.
fn readable<'w>(
    world: &'w World,
    arguments: &Arguments,
    holder: &Holder,
) -> Result<&'w Channel, Value> {
    let channel = known(world, arguments, holder)?;
    world.need(holder, &format!("{}:history", channel.kind.family()))?;
    if holder.person.is_none() && !is_in(world, holder, channel) {
        return Err(refusal("not_in_channel"));
    }
    Ok(channel)
}

/// Shows messages to an account.
fn show(messages: &[&Message], account: &str, shown: &mut Vec<u64>) -> Vec<Value> {
    messages
        .iter()
        .map(|message| {
            shown.extend(message.facts.get(account).into_iter().flatten());
            shown.extend(message.edit_facts.get(account));
            World::message_json(message)
        })
        .collect()
}

/// Where a cursor goes on; it names the message, so that new ones shift nothing.
fn resumed(hub: &Slack, arguments: &Arguments, method: &str) -> Result<Option<i64>, Value> {
    let life = hub.settings().cursor_seconds;
    match arguments.get("cursor") {
        "" => Ok(None),
        given => read_cursor(given, method, hub.core.clock.seconds(), life).map(Some),
    }
}

pub(crate) fn history(hub: &Slack, arguments: &Arguments, holder: &Holder) -> Answer {
    const METHOD: &str = "conversations.history";
    let limit = page_size(hub, arguments)?;
    let inside = window(arguments)?;
    let from = resumed(hub, arguments, METHOD)?;
    let mut shown = Vec::new();
    let world = hub.world();
    let channel = readable(&world, arguments, holder)?;
    let mut rows = channel.messages.values().rev().filter(|message| {
        (message.thread.is_none() || message.subtype == Some("thread_broadcast"))
            && inside(message.ts)
            && from.is_none_or(|from| message.ts <= from)
    });
    let page: Vec<&Message> = rows.by_ref().take(limit).collect();
    let next = rows.next().map(|message| message.ts);
    let messages = show(&page, &holder.account, &mut shown);
    hub.core.ledger.mark_polled(shown);
    let now = hub.core.clock.seconds();
    let cursor = next.map(|ts| cursor(METHOD, ts, now)).unwrap_or_default();
    Ok(json!({
        "ok": true, "messages": messages, "has_more": next.is_some(), "pin_count": 0,
        "channel_actions_ts": null, "channel_actions_count": 0,
        "response_metadata": { "next_cursor": cursor },
    }))
}

pub(crate) fn replies(hub: &Slack, arguments: &Arguments, holder: &Holder) -> Answer {
    const METHOD: &str = "conversations.replies";
    if hub.settings().replies_need_user && holder.person.is_none() {
        return Err(refusal("not_allowed_token_type"));
    }
    let limit = page_size(hub, arguments)?;
    let inside = window(arguments)?;
    let from = resumed(hub, arguments, METHOD)?;
    let mut shown = Vec::new();
    let world = hub.world();
    let channel = readable(&world, arguments, holder)?;
    let parent = parse_stamp(required(arguments.get("ts"), "ts")?)
        .and_then(|ts| channel.messages.get(&ts))
        .ok_or_else(|| refusal("thread_not_found"))?;
    let mut rows = parent
        .replies
        .iter()
        .filter(|ts| inside(**ts) && from.is_none_or(|from| **ts >= from))
        .filter_map(|ts| channel.messages.get(ts));
    // The thread's first message comes first on every page.
    let mut page = vec![parent];
    page.extend(rows.by_ref().take(limit));
    let next = rows.next().map(|message| message.ts);
    let messages = show(&page, &holder.account, &mut shown);
    hub.core.ledger.mark_polled(shown);
    let now = hub.core.clock.seconds();
    let cursor = next.map(|ts| cursor(METHOD, ts, now)).unwrap_or_default();
    Ok(json!({
        "ok": true, "messages": messages, "has_more": next.is_some(),
        "response_metadata": { "next_cursor": cursor },
    }))
}

pub(crate) fn permalink(hub: &Slack, arguments: &Arguments, holder: &Holder) -> Answer {
    let world = hub.world();
    let channel = known(&world, arguments, holder)?;
    let message = parse_stamp(arguments.get("message_ts"))
        .and_then(|ts| channel.messages.get(&ts))
        .ok_or_else(|| refusal("message_not_found"))?;
    let domain = &world.seen_from(&holder.account, channel).domain;
    let (id, digits) = (&channel.id, stamp(message.ts).replace('.', ""));
    let mut link = format!("https://{domain}.slack.com/archives/{id}/p{digits}");
    if let Some((thread, _)) = &message.thread {
        link = format!("{link}?thread_ts={}&cid={id}", stamp(*thread));
    }
    Ok(json!({ "ok": true, "channel": id, "permalink": link }))
}
