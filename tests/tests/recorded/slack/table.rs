//! The catalogue's table for Slack: what a body must give, and whose it is.

use serde_json::Value;
use shared::connectors::{AccountChange, WebhookOutcome};

use crate::must::Must;

/// Text that says something.
pub(super) fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

/// A timestamp as keys have it; some events leave out the point.
pub(super) fn ts(value: &Value) -> Option<String> {
    let text = text(value)?;
    let (seconds, micros) = match text.split_once('.') {
        Some(parts) => parts,
        None if text.len() == 16 => text.split_at(10),
        None => return None,
    };
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    (digits(seconds) && digits(micros)).then(|| format!("{seconds}.{micros:0<6}"))
}

/// What an event must give, by the catalogue's table.
fn must(event: &Value, envelope: &Value) -> Must {
    let told = match (text(&event["type"]), text(&event["subtype"])) {
        (Some("message"), Some("message_changed"))
            if event["message"]["edited"].is_object() && !is_older_edit(event) =>
        {
            edited(event)
        }
        (Some("message"), Some("message_changed")) => {
            return Must::BeSilent("a change by Slack itself");
        }
        (Some("message"), Some("message_deleted")) => deleted(event),
        (
            Some("message"),
            None | Some("file_share" | "bot_message" | "thread_broadcast" | "me_message"),
        )
        | (Some("app_mention"), _) => posted(event),
        (Some("message"), Some(_)) => return Must::BeSilent("a note of Slack's"),
        (Some("reaction_added" | "reaction_removed"), _)
            if text(&event["item"]["type"]).is_some_and(|kind| kind != "message") =>
        {
            return Must::BeSilent("a reaction on something that is in no channel");
        }
        (Some("reaction_added"), _) => reaction(event, envelope, "added"),
        (Some("reaction_removed"), _) => reaction(event, envelope, "removed"),
        (Some("channel_created"), _) => channel_created(event),
        (Some("member_joined_channel"), _) => member_joined(event, envelope),
        (Some("file_shared"), _) => file_shared(event),
        (Some("tokens_revoked" | "app_uninstalled" | "app_rate_limited"), _) => {
            return Must::BeSilent("it changes the connection");
        }
        _ => return Must::BeSilent("no kind in the catalogue"),
    };
    told.map_or_else(Must::BeRefused, |fact| Must::Tell(vec![fact]))
}

/// Whether the message was edited before already, and is changed by Slack now.
fn is_older_edit(event: &Value) -> bool {
    let now = ts(&event["message"]["edited"]["ts"]);
    now.is_some() && now == ts(&event["previous_message"]["edited"]["ts"])
}

type Told = Result<(&'static str, String), &'static str>;

fn channel(event: &Value) -> Result<&str, &'static str> {
    text(&event["channel"]).ok_or("event.channel")
}

/// A message's kind and key, of an event or of a list.
pub(super) fn message(channel: &str, message: &Value) -> Told {
    let ts_of = ts(&message["ts"]).ok_or("message.ts")?;
    let thread = ts(&message["thread_ts"]);
    let kind = if thread.is_some_and(|thread| thread != ts_of) {
        "thread_replied"
    } else {
        "message_posted"
    };
    Ok((kind, format!("message:{channel}:{ts_of}")))
}

fn posted(event: &Value) -> Told {
    message(channel(event)?, event)
}

fn edited(event: &Value) -> Told {
    let channel = channel(event)?;
    let message = &event["message"];
    let of = ts(&message["ts"]).or_else(|| ts(&event["previous_message"]["ts"]));
    let of = of.ok_or("message.ts")?;
    let at = ts(&message["edited"]["ts"]).ok_or("message.edited.ts")?;
    Ok((
        "message_edited",
        format!("message:{channel}:{of}:edited:{at}"),
    ))
}

fn deleted(event: &Value) -> Told {
    let channel = channel(event)?;
    let of = ts(&event["deleted_ts"]).or_else(|| ts(&event["previous_message"]["ts"]));
    let of = of.ok_or("event.deleted_ts")?;
    Ok(("message_deleted", format!("message:{channel}:{of}:deleted")))
}

/// When an event happened; where it does not say, when its envelope was sent.
fn when(event: &Value, envelope: &Value) -> Result<String, &'static str> {
    let sent = || Some(format!("{}.000000", envelope["event_time"].as_u64()?));
    ts(&event["event_ts"]).or_else(sent).ok_or("event.event_ts")
}

fn reaction(event: &Value, envelope: &Value, word: &str) -> Told {
    let item = &event["item"];
    if !item.is_object() {
        return Err("event.item");
    }
    let channel = text(&item["channel"]).ok_or("event.item.channel")?;
    let of = ts(&item["ts"]).ok_or("event.item.ts")?;
    let user = text(&event["user"]).ok_or("event.user")?;
    let name = text(&event["reaction"]).ok_or("event.reaction")?;
    let at = when(event, envelope)?;
    let kind = match word {
        "added" => "reaction_added",
        _ => "reaction_removed",
    };
    let key = format!("reaction:{channel}:{of}:{user}:{name}:{word}:{at}");
    Ok((kind, key))
}

fn channel_created(event: &Value) -> Told {
    let id = text(&event["channel"]["id"]).ok_or("channel.id")?;
    Ok(("channel_created", format!("channel:{id}:created")))
}

fn member_joined(event: &Value, envelope: &Value) -> Told {
    let channel = channel(event)?;
    let user = text(&event["user"]).ok_or("event.user")?;
    let at = when(event, envelope)?;
    Ok(("member_joined", format!("member:{channel}:{user}:{at}")))
}

fn file_shared(event: &Value) -> Told {
    let channel = text(&event["channel_id"]).ok_or("event.channel_id")?;
    let file = text(&event["file_id"]).ok_or("event.file_id")?;
    Ok(("file_shared", format!("file:{file}:{channel}")))
}

/// What a body must give that need not be one of the Events API.
pub(super) fn must_of_body(body: &[u8]) -> (Must, Value) {
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        return (Must::BeSilent("a form: a command or a click"), Value::Null);
    };
    let must = if body["event"].is_object() {
        must(&body["event"], &body)
    } else if body["envelope_id"].is_string() {
        Must::BeSilent("an envelope of socket mode")
    } else if body["trigger_id"].is_string() || body["actions"].is_array() {
        Must::BeSilent("a click or a dialogue")
    } else if body["type"] == "app_rate_limited" {
        Must::BeSilent("it changes the connection")
    } else {
        Must::BeSilent("no event at all")
    };
    (must, body)
}

/// Whose connection a body is for, as Slack's documentation has it.
pub(super) fn route(body: &Value) -> Option<&str> {
    let first = &body["authorizations"][0];
    let organization = first["is_enterprise_install"] == true;
    let installed = if organization {
        &first["enterprise_id"]
    } else {
        &first["team_id"]
    };
    text(installed)
        .or_else(|| text(&body["team_id"]))
        .or_else(|| text(&body["enterprise_id"]))
}

/// The change of the connection that the catalogue's table speaks of.
pub(super) fn change_of(body: &Value) -> Option<&'static str> {
    let event = &body["event"];
    match (text(&body["type"]), text(&event["type"])) {
        (Some("app_rate_limited"), _) => Some("gap"),
        (_, Some("app_uninstalled")) => Some("in_doubt"),
        (_, Some("tokens_revoked")) => {
            let bots = event["tokens"]["bot"].as_array().map_or(0, Vec::len);
            (bots > 0).then_some("in_doubt")
        }
        _ => None,
    }
}

pub(super) fn changed(outcome: &WebhookOutcome) -> Option<&'static str> {
    outcome.changes.iter().find_map(|change| match change {
        AccountChange::GapDetected => Some("gap"),
        AccountChange::GrantInDoubt => Some("in_doubt"),
        _ => None,
    })
}
