//! Lists of channels, chats and people, and the search.

use serde_json::{Value, json};

use super::{Fixture, SCOPES, fixture, grant, ids, rows, service, text, time_of};

/// Rows of all pages of a list.
async fn all_pages(fixture: &Fixture, path: &str, name: &str) -> (usize, Vec<Value>) {
    let (mut all, mut next, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let body = fixture.read(path, &[("next_token", &next)]).await;
        all.extend(rows(&body, name));
        pages += 1;
        assert_eq!(body["has_more"], body["next_token"].is_string());
        match body["next_token"].as_str() {
            Some(token) => token.clone_into(&mut next),
            None => return (pages, all),
        }
    }
}

#[tokio::test]
async fn lists_with_tokens_have_each_row_once() {
    let fixture = fixture().await;
    for _ in 0..3 {
        fixture.act("channel.created", json!({})).await;
    }
    fixture.settings(|settings| settings.max_page_size = 2);
    let (pages, channels) = all_pages(&fixture, "channels", "channels").await;
    assert_eq!((pages, channels.len()), (3, 5));
    let mut distinct = ids(&channels, "channel_id");
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), 5);
    let (pages, people) = all_pages(&fixture, "users", "data").await;
    assert_eq!((pages, people.len()), (2, 4));
    let user = fixture
        .read(&format!("users/{}", text(&people[0], "id")), &[])
        .await;
    assert_eq!(user["data"]["email_id"], people[0]["email_id"]);
}

#[tokio::test]
async fn channels_are_filtered_and_ordered() {
    let fixture = fixture().await;
    let (old, _) = fixture.channel("organization").await;
    let answer = fixture
        .act(
            "channel.created",
            json!({ "level": "team", "title": "Valves" }),
        )
        .await;
    let new = text(&answer["object"], "chat");
    let names = async |query: &[(&str, &str)]| {
        ids(
            &rows(&fixture.read("channels", query).await, "channels"),
            "chat_id",
        )
    };
    let fixed = names(&[("order_by", "-creation_time")]).await;
    assert_eq!(fixed.first(), Some(&new));
    service(&fixture.simulator).zoho.core.clock.advance(60);
    fixture.post(&old, json!({})).await;
    assert_eq!(
        names(&[("order_by", "-last_modified_time")]).await.first(),
        Some(&old)
    );
    // Sent as it is, the sign is a space.
    assert_eq!(
        names(&[("order_by", "+creation_time")]).await.last(),
        Some(&new)
    );
    assert_eq!(names(&[("name", "valves")]).await, [new.as_str()]);
    fixture
        .act("channel.archived", json!({ "chat": new }))
        .await;
    assert_eq!(names(&[("status", "archived")]).await, [new.as_str()]);
    let (status, _) = fixture
        .try_act("message.posted", json!({ "chat": new }))
        .await;
    assert_eq!(status, 409);
    let row = fixture.row(&format!(
        "channel:{}:created",
        text(&answer["object"], "channel")
    ));
    assert!(row.is_some_and(|row| row.poll && row.polled && row.kind == "channel_created"));
}

#[tokio::test]
async fn sync_token_returns_changed_channels_up_to_fifty() {
    let fixture = fixture().await;
    let token = text(&fixture.read("channels", &[]).await, "sync_token");
    let changes = async |token: &str| fixture.get("channels", &[("sync_token", token)]).await;
    assert_eq!(changes(&token).await.1["channels"], json!([]));
    let (chat, _) = fixture.channel("organization").await;
    fixture.post(&chat, json!({})).await;
    let (status, body) = changes(&token).await;
    assert_eq!(
        (status, ids(&rows(&body, "channels"), "chat_id")),
        (200, vec![chat])
    );
    for _ in 0..49 {
        fixture.act("channel.created", json!({})).await;
    }
    let (status, body) = changes(&token).await;
    assert_eq!((status, rows(&body, "channels").len()), (200, 50));
    fixture.act("channel.created", json!({})).await;
    let (status, body) = changes(&token).await;
    assert_eq!(
        (status, &body["code"]),
        (400, &json!("sync_limit_exceeded"))
    );
}

#[tokio::test]
async fn chats_are_paged_by_their_last_message() {
    let fixture = fixture().await;
    let mut direct = Vec::new();
    for number in 0..3 {
        let params = json!({ "people": [fixture.colleague(number).1] });
        let answer = fixture.act("chat.created", params).await;
        direct.push(text(&answer["object"], "chat"));
        service(&fixture.simulator).zoho.core.clock.advance(60);
        fixture.post(&direct[number], json!({})).await;
    }
    let names = async |query: &[(&str, &str)]| {
        ids(
            &rows(&fixture.read("chats", query).await, "chats"),
            "chat_id",
        )
    };
    let newest = names(&[("limit", "2")]).await;
    assert_eq!(newest, [direct[2].as_str(), &direct[1]]);
    let last = fixture.messages(&direct[1], &[]).await[0]["time"].to_string();
    assert_eq!(
        names(&[("modified_before", &last), ("limit", "1")]).await,
        [direct[0].as_str()]
    );
    assert_eq!(
        names(&[("modified_after", &last)]).await,
        [direct[2].as_str()]
    );
    let before = (last.parse::<i64>().expect("a time") - 1).to_string();
    let after = names(&[("modified_after", &before)]).await;
    assert_eq!(after, [direct[1].as_str(), &direct[2]], "oldest first");
    let again = fixture
        .act(
            "chat.created",
            json!({ "people": [fixture.colleague(0).1] }),
        )
        .await;
    assert_eq!(
        text(&again["object"], "chat"),
        direct[0],
        "two people have one chat"
    );
    let body = fixture.read("chats", &[]).await;
    let kinds: Vec<String> = ids(&rows(&body, "chats"), "chat_type");
    assert!(kinds.contains(&"dm".to_owned()) && kinds.contains(&"chat".to_owned()));
}

#[tokio::test]
async fn changed_profiles_are_listed_for_seven_days() {
    let fixture = fixture().await;
    let clock = &service(&fixture.simulator).zoho.core.clock;
    let since = (clock.milliseconds() - 60_000).to_string();
    let query = [("modified_after", since.as_str())];
    assert_eq!(fixture.read("users", &query).await["data"], json!([]));
    let (_, colleague) = fixture.colleague(1);
    let params = json!({ "actor": colleague, "title": "Pat" });
    fixture.act("user.changed", params).await;
    let body = fixture.read("users", &query).await;
    assert!(text(&rows(&body, "data")[0], "name").starts_with("Pat "));
    clock.advance(8 * 24 * 3_600);
    let token = grant(service(&fixture.simulator), &fixture.login, &SCOPES);
    let (status, body) = fixture.get_with(&token, "users", &query).await;
    assert_eq!((status, &body["data"]), (200, &json!([])));
}

#[tokio::test]
async fn search_ids_are_bare_times() {
    let fixture = fixture().await;
    let (chat, _) = fixture.channel("organization").await;
    let first = fixture.post(&chat, json!({ "text": "first" })).await;
    let second = fixture
        .post(&chat, json!({ "text": "second", "file": "a.png" }))
        .await;
    let path = "v3/messages/search";
    let body = fixture
        .read(path, &[("chat_ids", &chat), ("limit", "1")])
        .await;
    let newest = &rows(&body, "messages")[0];
    assert_eq!(text(newest, "message_id"), time_of(&second));
    assert_eq!(newest["content"]["file_name"], "a.png");
    let next = body["next_token"].to_string();
    let query = [
        ("chat_ids", chat.as_str()),
        ("limit", "1"),
        ("next_token", &next),
    ];
    let body = fixture.read(path, &query).await;
    assert_eq!(
        text(&rows(&body, "messages")[0], "message_id"),
        time_of(&first)
    );
    assert_eq!(body.get("next_token"), None);
    let body = fixture.read(path, &[("query", "SECOND")]).await;
    assert_eq!(rows(&body, "messages").len(), 1);
    let (status, body) = fixture
        .get(path, &[("from_time", "2"), ("to_time", "1")])
        .await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (400, &json!("invalid.time.submitted"))
    );
}
