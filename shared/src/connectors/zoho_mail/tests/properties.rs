//! Property tests of arbitrary and changed mails.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;
use serde_json::value::to_raw_value;

use super::MAILBOX;
use super::golden::outcome;
use crate::connectors::testing::{json, payloads, remove_at, replace_at, value};
use crate::connectors::zoho_mail::wire::{Folder, List, without_content};

/// Field names of Zoho Mail's rows and deliveries.
const NAMES: &[&str] = &[
    "messageId",
    "messageIdString",
    "folderId",
    "folderType",
    "threadId",
    "receivedTime",
    "subject",
    "sender",
    "fromAddress",
    "toAddress",
    "ccAddress",
    "hasAttachment",
    "summary",
    "html",
    "zuid",
    "entityId",
    "data",
    "status",
];

fn keys(name: &str, body: &Bytes) -> Vec<String> {
    let signals = outcome(name, body).signals.into_iter();
    signals.map(|signal| signal.dedupe_key).collect()
}

proptest! {
    #[test]
    fn changed_mails_do_not_panic(
        which in any::<prop::sample::Index>(),
        path in prop::collection::vec(0_usize..20, 0..4),
        with in value(),
    ) {
        let all = payloads("zoho_mail");
        let (name, body) = &all[which.index(all.len())];
        let mut mail: Value = serde_json::from_slice(body).expect("JSON");
        replace_at(&mut mail, &path, &with);
        let prefix = format!("zoho_mail:{MAILBOX}:message:");
        for key in keys(name, &Bytes::from(mail.to_string())) {
            let id = key.strip_prefix(&prefix);
            prop_assert!(id.is_some_and(|id| id.bytes().all(|byte| byte.is_ascii_digit())), "{}", key);
        }
    }

    #[test]
    fn missing_field_changes_no_dedupe_key(
        which in any::<prop::sample::Index>(),
        path in prop::collection::vec(0_usize..30, 1..3),
    ) {
        let all = payloads("zoho_mail");
        let (name, body) = &all[which.index(all.len())];
        let mut mail: Value = serde_json::from_slice(body).expect("JSON");
        let removed = remove_at(&mut mail, &path);
        // The id as a number may be inexact, and without its entity a task may look like a mail.
        prop_assume!(!matches!(removed.as_deref(), Some("messageIdString" | "entityId")));
        let less = Bytes::from(mail.to_string());
        let (before, after) = (keys(name, body), keys(name, &less));
        if !after.is_empty() {
            prop_assert_eq!(&after, &before);
        }
        let is_refused = outcome(name, &less).refused.is_some();
        prop_assert!(after == before || is_refused, "without {:?}: no Signal", removed);
    }

    #[test]
    fn arbitrary_json_does_not_panic(payload in json(NAMES)) {
        for name in ["row", "delivery"] {
            let outcome = outcome(name, &Bytes::from(payload.to_string()));
            prop_assert!(outcome.signals.is_empty() || outcome.refused.is_none());
        }
        if let Ok(list) = serde_json::from_value::<List>(payload.clone()) {
            for row in &list.rows {
                drop(Folder::parse(row));
            }
        }
        let kept = without_content(to_raw_value(&payload).expect("JSON")).expect("JSON");
        let kept: Value = serde_json::from_str(kept.get()).expect("JSON");
        prop_assert!(kept.get("html").is_none() && kept.get("summary").is_none());
    }
}
