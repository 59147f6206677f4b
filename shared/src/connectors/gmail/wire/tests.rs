//! Headers, pushes and lists in unusual forms.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn mailboxes(value: &str) -> Vec<(String, String)> {
    parse_mailboxes(value)
        .into_iter()
        .map(|mailbox| {
            (
                mailbox.address.unwrap_or_default(),
                mailbox.name.unwrap_or_default(),
            )
        })
        .collect()
}

#[test]
fn address_lists_are_parsed_with_names() {
    for (value, expected) in [
        ("ada@example.com", &[("ada@example.com", "")][..]),
        ("Ada <Ada@Example.com>", &[("Ada@Example.com", "Ada")]),
        (
            "\"Lovelace, Ada\" <ada@example.com>, Grace Hopper <grace@example.com>,,",
            &[
                ("ada@example.com", "Lovelace, Ada"),
                ("grace@example.com", "Grace Hopper"),
            ],
        ),
        ("ada@example.com (Ada)", &[("ada@example.com", "Ada")]),
        (
            "=?UTF-8?B?w4VzYQ==?= =?utf-8?q?_L=C3=B6f?= <asa@example.com>",
            &[("asa@example.com", "Åsa Löf")],
        ),
        (
            "The team: ada@example.com, grace@example.com;",
            &[("ada@example.com", ""), ("grace@example.com", "")],
        ),
        ("undisclosed-recipients:;", &[]),
        ("", &[]),
        (
            "\r\n Ada\r\n <ada@example.com>",
            &[("ada@example.com", "Ada")],
        ),
    ] {
        let expected: Vec<(String, String)> = expected
            .iter()
            .map(|(address, name)| ((*address).to_owned(), (*name).to_owned()))
            .collect();
        assert_eq!(mailboxes(value), expected, "{value}");
    }
}

#[test]
fn name_without_address_is_no_address() {
    for value in ["Mail Delivery Subsystem", "<@>", "<a b@c d>", "@"] {
        let found = mailboxes(value);
        assert!(
            found.iter().all(|(address, _)| address.is_empty()),
            "{value}: {found:?}"
        );
    }
}

#[test]
fn encoded_words_are_decoded() {
    for (value, expected) in [
        ("Plain  words", "Plain  words"),
        (
            "=?UTF-8?Q?=C3=89t=C3=A9?= at =?ISO-8859-1?Q?f=FCnf?=",
            "Été at fünf",
        ),
        ("=?utf-8?B?8J+agA==?=\r\n =?utf-8?B?IQ==?=", "🚀!"),
        ("=?shift_jis?B?g2WDWINn?=", "テスト"),
        ("=?no-charset?Q?a_b?=", "a b"),
        ("=?UTF-8?Q?cut", "=?UTF-8?Q?cut"),
        ("Already decoded: Café", "Already decoded: Café"),
        (
            "A long\r\n subject\n\tin three lines",
            "A long subject in three lines",
        ),
    ] {
        assert_eq!(decode_text(value).as_deref(), Some(expected), "{value}");
    }
    assert_eq!(decode_text(" \r\n "), None);
}

fn push(message: &Value) -> Push {
    Push::parse(
        json!({ "message": message, "subscription": "s" })
            .to_string()
            .as_bytes(),
    )
}

#[test]
fn push_is_read_in_every_spelling() {
    let expected = Push {
        message_id: Some("2070443601311540".to_owned()),
        address: Some("ada@example.com".to_owned()),
    };
    for history_id in [json!("9876543210"), json!(9_876_543_210_u64)] {
        let notification = json!({ "emailAddress": "Ada@Example.com", "historyId": history_id,
                                   "padding": "??>>~~" })
        .to_string();
        for data in [
            STANDARD.encode(&notification),
            STANDARD_NO_PAD.encode(&notification),
            URL_SAFE.encode(&notification),
            URL_SAFE_NO_PAD.encode(&notification),
        ] {
            for name in ["messageId", "message_id"] {
                let message = json!({ "data": data, name: "2070443601311540" });
                assert_eq!(push(&message), expected, "{data} {name}");
            }
            let both = json!({ "data": data, "messageId": "2070443601311540",
                               "message_id": "2070443601311540" });
            assert_eq!(push(&both), expected);
        }
    }
}

#[test]
fn push_without_mailbox_has_no_route() {
    let data = |notification: Value| json!({ "data": STANDARD.encode(notification.to_string()) });
    let long = format!("{}@example.com", "a".repeat(MAX_LOCAL_PART));
    for message in [
        json!({}),
        json!("text"),
        json!({ "data": "AQIDBA==" }),
        json!({ "data": "%%%" }),
        data(json!({})),
        data(json!({ "emailAddress": 7 })),
        data(json!({ "emailAddress": "no address" })),
        data(json!({ "emailAddress": long })),
    ] {
        assert_eq!(push(&message).address, None, "{message}");
    }
    for id in [json!("a b"), json!(""), json!("x".repeat(101)), json!(7)] {
        assert_eq!(push(&json!({ "messageId": id })).message_id, None, "{id}");
    }
    assert_eq!(Push::parse(b"\xff not JSON"), Push::default());
}

const MAX_LOCAL_PART: usize = 400;

#[test]
fn history_names_added_and_sent_messages() {
    let message =
        |id: &str, labels: &[&str]| json!({ "message": { "id": id, "labelIds": labels } });
    let labelled = |id: &str, labels: &[&str]| json!({ "message": { "id": id, "labelIds": ["SENT"] }, "labelIds": labels });
    let page: History = serde_json::from_value(json!({
        "history": [
            { "id": "1", "messages": [{ "id": "repeated" }], "messagesAdded": [
                message("received", &["INBOX"]), message("draft", &["DRAFT"]),
                message("spam", &["SPAM"]), message("trashed", &["TRASH"]),
            ] },
            "no record",
            { "id": 2, "labelsAdded": [
                labelled("sent", &["SENT"]), labelled("starred", &["STARRED"]),
                { "message": { "id": "draft", "labelIds": ["DRAFT"] }, "labelIds": ["SENT"] },
            ] },
            { "id": "3", "messagesAdded": [message("received", &[]), { "message": {} }] },
            { "id": "4", "messagesDeleted": [message("deleted", &[])] },
        ],
        "nextPageToken": "next", "historyId": 77,
    }))
    .expect("a page");
    assert_eq!(page.next_page.as_deref(), Some("next"));
    assert_eq!(page.position.as_deref(), Some("77"));
    let (ids, results): (Vec<_>, Vec<_>) = page.records.iter().map(|raw| read_record(raw)).unzip();
    assert_eq!(
        ids.concat(),
        ["received", "trashed", "sent", "draft", "received"]
    );
    let missing = WireError::Missing("message.id");
    assert_eq!(
        results,
        [
            Ok(()),
            Err(WireError::NotAnObject),
            Ok(()),
            Err(missing),
            Ok(())
        ]
    );
}

#[test]
fn page_without_history_may_have_a_next_one() {
    let page: History = serde_json::from_value(json!({ "nextPageToken": "next" })).expect("a page");
    assert_eq!(page.next_page.as_deref(), Some("next"));
    assert!(page.position.is_none() && page.records.is_empty());
}

#[test]
fn content_of_mail_is_removed() {
    let kept = json!({ "id": "1", "threadId": "1", "labelIds": [], "historyId": "2",
        "internalDate": "3", "payload": { "headers": [{ "name": "To", "value": "a@b.example" }] } });
    let strip = |message: &Value| {
        let raw = to_raw_value(message).expect("JSON");
        without_content(raw).expect("JSON").get().to_owned()
    };
    assert_eq!(strip(&kept), kept.to_string(), "unchanged");
    let mut whole = kept.clone();
    (whole["snippet"], whole["raw"]) = (json!("Dear"), json!("RGVhcg"));
    whole["payload"]["body"] = json!({ "data": "RGVhcg" });
    whole["payload"]["parts"] = json!([{ "body": { "data": "RGVhcg" } }]);
    assert_eq!(strip(&whole), kept.to_string());
    for (odd, expected) in [
        (json!("Dear"), "{}"),
        (json!(["Dear"]), "{}"),
        (json!({ "payload": "Dear" }), r#"{"payload":{}}"#),
        (
            json!({ "payload": { "body": "Dear" } }),
            r#"{"payload":{}}"#,
        ),
    ] {
        assert_eq!(strip(&odd), expected);
    }
}

proptest! {
    #[test]
    fn arbitrary_headers_do_not_panic(value in any::<String>()) {
        parse_mailboxes(&value);
        decode_text(&value);
    }

    #[test]
    fn arbitrary_encoded_words_do_not_panic(
        parts in prop::collection::vec("(=\\?|\\?=|\\?|utf-8|[bBqQ]|[<>,:;()\"\\\\@ ]|[a-z]|é)", 0..40),
    ) {
        let value = parts.concat();
        for mailbox in parse_mailboxes(&value) {
            prop_assert!(mailbox.address.is_some() || mailbox.name.is_some());
        }
        decode_text(&value);
    }

    #[test]
    fn arbitrary_pushes_do_not_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        Push::parse(&body);
    }
}
