//! Tests of the Zoho Cliq wire types.

use serde_json::{Value, json};

use super::*;

fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("a value")
}

#[test]
fn last_page_of_channels_may_have_a_token() {
    for (page, next) in [
        (json!({ "next_token": "a", "has_more": true }), Some("a")),
        (json!({ "next_token": "a" }), Some("a")),
        (json!({ "next_token": "a", "has_more": false }), None),
        (json!({ "has_more": true }), None),
        (json!({ "next_token": "", "has_more": true }), None),
    ] {
        let page: ChannelPage = read(page);
        assert_eq!(page.next().as_deref(), next);
    }
}

#[test]
fn activity_is_that_of_messages_and_changes() {
    let last = json!({ "time": "2026-11-23T10:00:05+05:30" });
    let channel: Channel =
        read(json!({ "last_modified_time": "2026-11-23T04:30:04Z", "last_message_info": last }));
    let active_at = channel.active_at().map(Timestamp::millis);
    assert_eq!(active_at, Some(1_795_408_205_000));
    let channel: Channel = read(json!({ "last_modified_time": "2026-11-23T04:30:06Z" }));
    assert_eq!(
        channel.active_at().map(Timestamp::millis),
        Some(1_795_408_206_000)
    );
    assert_eq!(read::<Channel>(json!({})).active_at(), None);
}

#[test]
fn chats_of_both_vocabularies_are_listed() {
    for kind in ["dm", "chat", "direct_message", "group_chat", "bot"] {
        let chat: Chat = read(json!({ "chat_type": kind, "removed": false }));
        assert!(chat.is_listed(), "{kind}");
    }
    for other in ["channel", "thread", "chat_thread"] {
        assert!(
            !read::<Chat>(json!({ "chat_type": other })).is_listed(),
            "{other}"
        );
    }
    assert!(!read::<Chat>(json!({ "chat_type": "dm", "removed": true })).is_listed());
}

#[test]
fn person_is_read_in_every_spelling() {
    for person in [
        json!({ "id": "7", "name": "Ada Byron" }),
        json!({ "senderID": "7", "senderName": "Ada Byron" }),
        json!({ "id": 7, "first_name": "Ada", "last_name": "Byron" }),
        json!({ "zoho_user_id": "7", "first_name": "Ada Byron", "last_name": "" }),
    ] {
        let person: Person = read(person);
        let expected = Person::new(Some("7".to_owned()), Some("Ada Byron".to_owned()));
        assert_eq!(person, expected);
    }
    assert_eq!(
        read::<Person>(json!("7")),
        Person::new(Some("7".to_owned()), None)
    );
    assert_eq!(read::<Person>(json!({})), Person::default());
}

#[test]
fn content_is_an_object_or_text() {
    for content in [
        json!("Hi"),
        json!({ "text": "Hi" }),
        json!({ "comment": "Hi" }),
    ] {
        let message: Message = read(json!({ "content": content }));
        assert_eq!(message.text(), Some("Hi"));
    }
    let file = json!({ "name": null, "type": null, "id": null });
    let message: Message = read(json!({ "content": { "file": file, "comment": "Hi" } }));
    assert_eq!(message.files().count(), 0);
    assert_eq!(message.text(), Some("Hi"));
    for other in [json!(null), json!(7), json!(["Hi"])] {
        let message: Message = read(json!({ "content": other }));
        assert_eq!(message.text(), None);
    }
}
