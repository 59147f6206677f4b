//! Who reads what, and what the ledger expects of whom.

use serde_json::json;

use super::{SCOPES, fixture, grant, service, text, time_of};

#[tokio::test]
async fn outsider_reads_only_open_channels_names() {
    let fixture = fixture().await;
    let (_, insider) = fixture.colleague(0);
    let (_, outsider) = fixture.colleague(1);
    let token = grant(service(&fixture.simulator), &outsider, &SCOPES);
    let params = json!({ "level": "private", "people": [insider] });
    let private = fixture.act("channel.created", params).await["object"].clone();
    let params = json!({ "people": [insider] });
    let open = fixture.act("channel.created", params).await["object"].clone();
    for (object, status) in [(&private, 403), (&open, 200)] {
        let path = format!("channels/{}", text(object, "channel"));
        assert_eq!(fixture.get_with(&token, &path, &[]).await.0, status);
        let path = format!("chats/{}/messages", text(object, "chat"));
        let (status, body) = fixture.get_with(&token, &path, &[]).await;
        assert_eq!((status, &body["code"]), (403, &json!("chat_access_denied")));
    }
    let (_, body) = fixture
        .get_with(&token, "channels", &[("joined", "false")])
        .await;
    assert_eq!(
        super::ids(&super::rows(&body, "channels"), "chat_id"),
        [text(&open, "chat")]
    );
}

#[tokio::test]
async fn new_member_sees_the_past_until_leaving() {
    let fixture = fixture().await;
    let (_, insider) = fixture.colleague(0);
    let (_, newcomer) = fixture.colleague(1);
    grant(service(&fixture.simulator), &newcomer, &SCOPES);
    let answer = fixture
        .act("channel.created", json!({ "people": [insider] }))
        .await;
    let chat = text(&answer["object"], "chat");
    let message = fixture.post(&chat, json!({})).await;
    let key = format!("zoho_cliq:message:{chat}:{}", time_of(&message));
    let polled = || {
        let rows = fixture.ledger(&newcomer);
        let shown = rows.iter().filter(|row| row.poll);
        shown.map(|row| row.dedupe_key.clone()).collect::<Vec<_>>()
    };
    assert!(!polled().contains(&key));
    let params = json!({ "actor": newcomer, "chat": chat });
    let answer = fixture.act("member.joined", params.clone()).await;
    let facts = super::ids(&super::rows(&answer, "facts"), "kind");
    assert_eq!(facts, ["channel_created", "message_posted"]);
    assert!(polled().contains(&key));
    let info = fixture.messages(&chat, &[]).await;
    assert_eq!(
        info[1]["type"], "info",
        "the row about the member is no fact"
    );
    fixture.act("member.left", params.clone()).await;
    assert_eq!(polled(), Vec::<String>::new());
    fixture.act("member.joined", params).await;
    assert!(polled().contains(&key));
}

#[tokio::test]
async fn facts_are_on_api_while_messages_granted() {
    let fixture = fixture().await;
    let (chat, _) = fixture.channel("organization").await;
    let message = fixture.post(&chat, json!({})).await;
    let key = format!("message:{chat}:{}", time_of(&message));
    assert!(fixture.row(&key).is_some_and(|row| row.poll));
    let body = json!({ "revoke": fixture.login });
    assert_eq!(fixture.control("zoho/tokens", &body).await.0, 204);
    assert!(fixture.row(&key).is_some_and(|row| !row.poll));
    grant(service(&fixture.simulator), &fixture.login, &SCOPES[..1]);
    assert!(
        fixture.row(&key).is_some_and(|row| !row.poll),
        "another scope"
    );
}
