//! Methods of messages: history, replies and permalinks.

use serde_json::{Value, json};

use super::Slack;
use super::api::{Arguments, MethodResult, error_json};
use super::lists::{cursor, find_channel, is_in, read_cursor};
use super::scopes::required;
use super::tokens::Holder;
use super::world::{Channel, Message, World, format_ts, parse_ts};

/// Filter of timestamps by the arguments `oldest`, `latest` and `inclusive`.
fn window(arguments: &Arguments) -> Result<impl Fn(i64) -> bool + use<>, Value> {
    let bound = |name: &str| match arguments.get(name) {
        "" => Ok(None),
        text => match parse_ts(text) {
            Some(ts) => Ok(Some(ts)),
            None => Err(error_json(&format!("invalid_ts_{name}"))),
        },
    };
    let (oldest, latest) = (bound("oldest")?, bound("latest")?);
    let inclusive = arguments.flag("inclusive") && (oldest.is_some() || latest.is_some());
    Ok(move |ts| {
        oldest.is_none_or(|bound| ts > bound || (inclusive && ts == bound))
            && latest.is_none_or(|bound| ts < bound || (inclusive && ts == bound))
    })
}

fn page_size(service: &Slack, arguments: &Arguments) -> Result<usize, Value> {
    if service.settings().limited {
        arguments.limit(15, 15)
    } else {
        arguments.limit(100, 999)
    }
}

/// The requested channel, if the token's holder may read its messages.
fn readable<'w>(
    world: &'w World,
    arguments: &Arguments,
    holder: &Holder,
) -> Result<&'w Channel, Value> {
    let channel = find_channel(world, arguments, holder)?;
    world.require_scope(holder, &format!("{}:history", channel.kind.scope_family()))?;
    if holder.person.is_none() && !is_in(world, holder, channel) {
        return Err(error_json("not_in_channel"));
    }
    Ok(channel)
}

/// Renders messages for an account and collects their ledger rows in `polled`.
fn render(messages: &[&Message], account: &str, polled: &mut Vec<u64>) -> Vec<Value> {
    messages
        .iter()
        .map(|message| {
            polled.extend(message.facts.get(account).into_iter().flatten());
            polled.extend(message.edit_facts.get(account));
            World::message_json(message)
        })
        .collect()
}

/// Message at which a cursor continues, so that new messages do not shift pages.
fn resume_from(service: &Slack, arguments: &Arguments, method: &str) -> Result<Option<i64>, Value> {
    let ttl = service.settings().cursor_seconds;
    match arguments.get("cursor") {
        "" => Ok(None),
        cursor => read_cursor(cursor, method, service.core.clock.seconds(), ttl).map(Some),
    }
}

pub(crate) fn history(service: &Slack, arguments: &Arguments, holder: &Holder) -> MethodResult {
    const METHOD: &str = "conversations.history";
    let limit = page_size(service, arguments)?;
    let in_window = window(arguments)?;
    let from = resume_from(service, arguments, METHOD)?;
    let mut polled = Vec::new();
    let world = service.world();
    let channel = readable(&world, arguments, holder)?;
    let mut rows = channel.messages.values().rev().filter(|message| {
        (message.thread.is_none() || message.subtype == Some("thread_broadcast"))
            && in_window(message.ts)
            && from.is_none_or(|from| message.ts <= from)
    });
    let page: Vec<&Message> = rows.by_ref().take(limit).collect();
    let next = rows.next().map(|message| message.ts);
    let messages = render(&page, &holder.account, &mut polled);
    service.core.ledger.mark_polled(polled);
    let now = service.core.clock.seconds();
    let cursor = next.map(|ts| cursor(METHOD, ts, now)).unwrap_or_default();
    Ok(json!({
        "ok": true, "messages": messages, "has_more": next.is_some(), "pin_count": 0,
        "channel_actions_ts": null, "channel_actions_count": 0,
        "response_metadata": { "next_cursor": cursor },
    }))
}

pub(crate) fn replies(service: &Slack, arguments: &Arguments, holder: &Holder) -> MethodResult {
    const METHOD: &str = "conversations.replies";
    if service.settings().replies_need_user && holder.person.is_none() {
        return Err(error_json("not_allowed_token_type"));
    }
    let limit = page_size(service, arguments)?;
    let in_window = window(arguments)?;
    let from = resume_from(service, arguments, METHOD)?;
    let mut polled = Vec::new();
    let world = service.world();
    let channel = readable(&world, arguments, holder)?;
    let parent = parse_ts(required(arguments.get("ts"), "ts")?)
        .and_then(|ts| channel.messages.get(&ts))
        .ok_or_else(|| error_json("thread_not_found"))?;
    let mut rows = parent
        .replies
        .iter()
        .filter(|ts| in_window(**ts) && from.is_none_or(|from| **ts >= from))
        .filter_map(|ts| channel.messages.get(ts));
    // Every page begins with the thread's parent.
    let mut page = vec![parent];
    page.extend(rows.by_ref().take(limit));
    let next = rows.next().map(|message| message.ts);
    let messages = render(&page, &holder.account, &mut polled);
    service.core.ledger.mark_polled(polled);
    let now = service.core.clock.seconds();
    let cursor = next.map(|ts| cursor(METHOD, ts, now)).unwrap_or_default();
    Ok(json!({
        "ok": true, "messages": messages, "has_more": next.is_some(),
        "response_metadata": { "next_cursor": cursor },
    }))
}

pub(crate) fn permalink(service: &Slack, arguments: &Arguments, holder: &Holder) -> MethodResult {
    let world = service.world();
    let channel = find_channel(&world, arguments, holder)?;
    let message = parse_ts(arguments.get("message_ts"))
        .and_then(|ts| channel.messages.get(&ts))
        .ok_or_else(|| error_json("message_not_found"))?;
    let domain = &world.channel_workspace(&holder.account, channel).domain;
    let (id, digits) = (&channel.id, format_ts(message.ts).replace('.', ""));
    let mut link = format!("https://{domain}.slack.com/archives/{id}/p{digits}");
    if let Some((thread, _)) = &message.thread {
        link = format!("{link}?thread_ts={}&cid={id}", format_ts(*thread));
    }
    Ok(json!({ "ok": true, "channel": id, "permalink": link }))
}
