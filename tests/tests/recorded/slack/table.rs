//! Expected outcomes of Slack's bodies by the Signal catalogue's table, and their routes.

use serde_json::Value;
use shared::connectors::{AccountChange, SyncHint, WebhookOutcome};

use crate::expectation::Expected;

/// Non-empty text.
pub(super) fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

/// Timestamp as in dedupe keys. Some events lack the decimal point.
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

/// Expected outcome of an event.
fn expected_outcome(event: &Value, envelope: &Value) -> Expected {
    let fact = match (text(&event["type"]), text(&event["subtype"])) {
        (Some("message"), Some("message_changed"))
            if event["message"]["edited"].is_object() && !is_older_edit(event) =>
        {
            edited(event)
        }
        (Some("message"), Some("message_changed")) => {
            return Expected::Nothing("a change by Slack itself");
        }
        (Some("message"), Some("message_deleted")) => deleted(event),
        (
            Some("message"),
            None | Some("file_share" | "bot_message" | "thread_broadcast" | "me_message"),
        )
        | (Some("app_mention"), _) => posted(event),
        (Some("message"), Some(_)) => return Expected::Nothing("a message by Slack itself"),
        (Some("reaction_added" | "reaction_removed"), _)
            if text(&event["item"]["type"]).is_some_and(|kind| kind != "message") =>
        {
            return Expected::Nothing("the reaction is not on a message");
        }
        (Some("reaction_added"), _) => reaction(event, envelope, "added"),
        (Some("reaction_removed"), _) => reaction(event, envelope, "removed"),
        (Some("channel_created"), _) => channel_created(event),
        (Some("member_joined_channel"), _) => member_joined(event, envelope),
        (Some("file_shared"), _) => file_shared(event),
        (Some("tokens_revoked" | "app_uninstalled" | "app_rate_limited"), _) => {
            return Expected::Nothing("it changes the connection");
        }
        _ => return Expected::Nothing("no kind in the catalogue"),
    };
    fact.map_or_else(Expected::MissingField, |fact| Expected::Signals(vec![fact]))
}

/// Whether Slack changed a message that was already edited before.
fn is_older_edit(event: &Value) -> bool {
    let now = ts(&event["message"]["edited"]["ts"]);
    now.is_some() && now == ts(&event["previous_message"]["edited"]["ts"])
}

type FactOrMissing = Result<(&'static str, String), &'static str>;

fn channel(event: &Value) -> Result<&str, &'static str> {
    text(&event["channel"]).ok_or("event.channel")
}

/// Kind and dedupe key of a message, in an event or a list.
pub(super) fn message(channel: &str, message: &Value) -> FactOrMissing {
    let ts_of = ts(&message["ts"]).ok_or("message.ts")?;
    let thread = ts(&message["thread_ts"]);
    let kind = if thread.is_some_and(|thread| thread != ts_of) {
        "thread_replied"
    } else {
        "message_posted"
    };
    Ok((kind, format!("message:{channel}:{ts_of}")))
}

fn posted(event: &Value) -> FactOrMissing {
    message(channel(event)?, event)
}

fn edited(event: &Value) -> FactOrMissing {
    let channel = channel(event)?;
    let message = &event["message"];
    let message_ts = ts(&message["ts"]).or_else(|| ts(&event["previous_message"]["ts"]));
    let message_ts = message_ts.ok_or("message.ts")?;
    let at = ts(&message["edited"]["ts"]).ok_or("message.edited.ts")?;
    Ok((
        "message_edited",
        format!("message:{channel}:{message_ts}:edited:{at}"),
    ))
}

fn deleted(event: &Value) -> FactOrMissing {
    let channel = channel(event)?;
    let message_ts = ts(&event["deleted_ts"]).or_else(|| ts(&event["previous_message"]["ts"]));
    let message_ts = message_ts.ok_or("event.deleted_ts")?;
    Ok((
        "message_deleted",
        format!("message:{channel}:{message_ts}:deleted"),
    ))
}

/// Time of an event, or of its envelope if the event has none.
fn event_time(event: &Value, envelope: &Value) -> Result<String, &'static str> {
    let sent = || Some(format!("{}.000000", envelope["event_time"].as_u64()?));
    ts(&event["event_ts"]).or_else(sent).ok_or("event.event_ts")
}

fn reaction(event: &Value, envelope: &Value, suffix: &str) -> FactOrMissing {
    let item = &event["item"];
    if !item.is_object() {
        return Err("event.item");
    }
    let channel = text(&item["channel"]).ok_or("event.item.channel")?;
    let item_ts = ts(&item["ts"]).ok_or("event.item.ts")?;
    let user = text(&event["user"]).ok_or("event.user")?;
    let name = text(&event["reaction"]).ok_or("event.reaction")?;
    let at = event_time(event, envelope)?;
    let kind = match suffix {
        "added" => "reaction_added",
        _ => "reaction_removed",
    };
    let key = format!("reaction:{channel}:{item_ts}:{user}:{name}:{suffix}:{at}");
    Ok((kind, key))
}

fn channel_created(event: &Value) -> FactOrMissing {
    let id = text(&event["channel"]["id"]).ok_or("channel.id")?;
    Ok(("channel_created", format!("channel:{id}:created")))
}

fn member_joined(event: &Value, envelope: &Value) -> FactOrMissing {
    let channel = channel(event)?;
    let user = text(&event["user"]).ok_or("event.user")?;
    let at = event_time(event, envelope)?;
    Ok(("member_joined", format!("member:{channel}:{user}:{at}")))
}

fn file_shared(event: &Value) -> FactOrMissing {
    let channel = text(&event["channel_id"]).ok_or("event.channel_id")?;
    let file = text(&event["file_id"]).ok_or("event.file_id")?;
    Ok(("file_shared", format!("file:{file}:{channel}")))
}

/// Expected outcome of any body that Slack may send, and its JSON.
pub(super) fn expected_of_body(body: &[u8]) -> (Expected, Value) {
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        return (
            Expected::Nothing("a form: a command or an interaction"),
            Value::Null,
        );
    };
    let expected = if body["event"].is_object() {
        expected_outcome(&body["event"], &body)
    } else if body["envelope_id"].is_string() {
        Expected::Nothing("a socket mode envelope")
    } else if body["trigger_id"].is_string() || body["actions"].is_array() {
        Expected::Nothing("an interaction")
    } else if body["type"] == "app_rate_limited" {
        Expected::Nothing("it changes the connection")
    } else {
        Expected::Nothing("no event")
    };
    (expected, body)
}

/// Account id that a body is for, by Slack's documentation.
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

/// Expected account change by the catalogue's table.
pub(super) fn expected_change(body: &Value) -> Option<&'static str> {
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

pub(super) fn account_change(outcome: &WebhookOutcome) -> Option<&'static str> {
    if outcome.sync_hint == Some(SyncHint::All) {
        return Some("gap");
    }
    outcome.changes.iter().find_map(|change| match change {
        AccountChange::GrantCheckRequired => Some("in_doubt"),
        _ => None,
    })
}
