//! Property tests of arbitrary and changed deliveries and messages.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;
use serde_json::value::to_raw_value;

use super::golden::handle;
use crate::connectors::Directory;
use crate::connectors::testing::{json, payloads, remove_at, replace_at, value};
use crate::connectors::zoho_cliq::normalize::{self, Place};
use crate::connectors::zoho_cliq::wire::{Channel, Chat, Message, Thread, read_row};

/// Field names of Cliq's deliveries and rows.
const NAMES: &[&str] = &[
    "params",
    "handler",
    "type",
    "timestamp",
    "operation",
    "data",
    "message",
    "message_details",
    "mentions",
    "attachments",
    "user",
    "sender",
    "chat",
    "access",
    "organization",
    "id",
    "time",
    "text",
    "content",
    "file",
    "name",
    "channel_id",
    "chat_id",
    "creation_time",
    "last_message_info",
];

fn keys(body: &Bytes) -> Vec<String> {
    let signals = handle(body).map(|outcome| outcome.signals);
    let signals = signals.unwrap_or_default().into_iter();
    signals.map(|signal| signal.dedupe_key).collect()
}

proptest! {
    #[test]
    fn changed_payloads_do_not_panic(
        which in any::<prop::sample::Index>(),
        path in prop::collection::vec(0_usize..20, 0..6),
        with in value(),
    ) {
        let all = payloads("zoho_cliq");
        let mut payload: Value =
            serde_json::from_slice(&all[which.index(all.len())].1).expect("JSON");
        replace_at(&mut payload, &path, &with);
        for key in keys(&Bytes::from(payload.to_string())) {
            prop_assert!(key.starts_with("zoho_cliq:message:"), "{}", key);
        }
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        keys(&Bytes::from(body));
    }

    #[test]
    fn arbitrary_json_does_not_panic(payload in json(NAMES)) {
        if let Ok(outcome) = handle(&Bytes::from(payload.to_string())) {
            prop_assert!(outcome.signals.is_empty() || outcome.refused.is_none());
        }
    }

    #[test]
    fn missing_field_changes_no_dedupe_key(
        which in any::<prop::sample::Index>(),
        path in prop::collection::vec(0_usize..20, 1..6),
    ) {
        let all = payloads("zoho_cliq");
        let body = &all[which.index(all.len())].1;
        let mut payload: Value = serde_json::from_slice(body).expect("JSON");
        let removed = remove_at(&mut payload, &path).unwrap_or_default();
        // Without these fields it is another event, or one of another chat or organization.
        let others = ["handler", "type", "operation", "params", "chat", "organization", "id"];
        prop_assume!(!others.contains(&removed.as_str()));
        let whole = keys(body);
        for key in keys(&Bytes::from(payload.to_string())) {
            prop_assert!(whole.contains(&key), "without {}: {}", removed, key);
        }
    }

    #[test]
    fn arbitrary_rows_do_not_panic(row in json(NAMES)) {
        let raw = to_raw_value(&row).expect("JSON");
        let directory = Directory::default();
        let place = Place { chat: "CT_1-T-2", title: None, is_channel: false };
        if let Ok((time, message)) = Message::read_row(&raw) {
            let signal = normalize::posted(&directory, &place, &message, (time, 1), false, &raw);
            prop_assert_eq!(signal.timestamp.timestamp_millis(), time.millis());
        }
        let floor = chrono::DateTime::UNIX_EPOCH;
        if let Ok(channel) = read_row::<Channel>(&raw) {
            normalize::channel_created(&directory, &channel, floor, &raw).ok();
        }
        read_row::<Chat>(&raw).ok();
        read_row::<Thread>(&raw).ok();
    }
}
