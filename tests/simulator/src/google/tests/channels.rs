//! Tests of watch channels.

use super::*;

impl Fixture {
    async fn start_token(&self, tokens: &Value) -> String {
        let path = "/drive/v3/changes/startPageToken";
        text(&self.get_json(tokens, path).await, "startPageToken")
    }

    async fn watch(&self, tokens: &Value, id: &str, more: Value) -> Response {
        let token = self.start_token(tokens).await;
        let path = format!("/drive/v3/changes/watch?pageToken={token}&supportsAllDrives=true");
        let mut body = json!({
            "id": id, "type": "web_hook", "address": self.receiver, "token": format!("t-{id}"),
        });
        let fields = body.as_object_mut().expect("an object");
        fields.extend(more.as_object().cloned().unwrap_or_default());
        self.post(tokens, &path, &body).await
    }
}

fn states(messages: &[BTreeMap<String, String>]) -> Vec<(&str, &str)> {
    let header = |message: &'_ BTreeMap<String, String>, name: &str| message.get(name).cloned();
    messages
        .iter()
        .map(|message| {
            assert_eq!(header(message, "content-length").as_deref(), Some("0"));
            let value = |name: &str| message.get(name).map_or("", String::as_str);
            (
                value("x-goog-resource-state"),
                value("x-goog-channel-token"),
            )
        })
        .collect()
}

#[tokio::test]
async fn burst_of_changes_sends_one_message() {
    let fixture = fixture(StatusCode::NO_CONTENT).await;
    let tokens = fixture.connect(0, SCOPE).await;
    let channel = json_of(fixture.watch(&tokens, "c1", json!({})).await).await;
    assert_eq!(channel["kind"], "api#channel");
    let settings = json!({ "coalesce_milliseconds": 300 });
    fixture.control("google/settings", settings).await;
    for _ in 0..5 {
        fixture.act("file.created", json!({})).await;
    }
    let messages = fixture.delivered_messages().await;
    assert_eq!(states(&messages), [("sync", "t-c1"), ("change", "t-c1")]);
    let numbers: Vec<u64> = messages
        .iter()
        .map(|message| message["x-goog-message-number"].parse().expect("a number"))
        .collect();
    assert!(numbers[0] == 1 && numbers[1] > 1);
    assert_eq!(
        messages[1]["x-goog-resource-id"],
        text(&channel, "resourceId")
    );
}

#[tokio::test]
async fn channel_ends_silently_when_it_expires() {
    let fixture = fixture(StatusCode::OK).await;
    let far = json!({ "expiration": "9999999999999" });
    let mut seconds = 7 * 24 * 3_600 + 60;
    for id in ["c1", "c2"] {
        // The token of the first round has expired in the second.
        let tokens = fixture.connect(0, SCOPE).await;
        let channel = json_of(fixture.watch(&tokens, id, far.clone()).await).await;
        let expiration: i64 = text(&channel, "expiration").parse().expect("a number");
        let advance = json!({ "advance_seconds": seconds });
        fixture.control("clock", advance).await;
        let channels = fixture.control_get("google_drive/channels").await;
        let channels = channels["channels"].as_array().expect("channels").iter();
        let is_live = |channel: &Value| channel["live"] == true;
        assert_eq!(
            channels.filter(|one| is_live(one)).count(),
            0,
            "{expiration}"
        );
        // Google may grant less than the maximum.
        let shorter = json!({ "max_channel_seconds": 600 });
        fixture.control("google/settings", shorter).await;
        seconds = 660;
    }
    fixture.act("file.created", json!({})).await;
    assert_eq!(fixture.delivered_messages().await.len(), 2);
}

#[tokio::test]
async fn stopped_channel_sends_at_most_one_message() {
    let fixture = fixture(StatusCode::OK).await;
    let tokens = fixture.connect(0, SCOPE).await;
    let channel = json_of(fixture.watch(&tokens, "c1", json!({})).await).await;
    fixture
        .control("google/settings", json!({ "late_message": true }))
        .await;
    let body = json!({ "id": "c1", "resourceId": channel["resourceId"] });
    let stop = || fixture.post(&tokens, "/drive/v3/channels/stop", &body);
    assert_eq!(stop().await.status(), StatusCode::NO_CONTENT);
    assert_eq!(stop().await.status(), StatusCode::NOT_FOUND);
    for _ in 0..2 {
        fixture.act("file.created", json!({})).await;
        fixture.delivered_messages().await;
    }
    assert_eq!(fixture.delivered_messages().await.len(), 2);
}

#[tokio::test]
async fn channel_id_and_address_are_checked() {
    let fixture = fixture(StatusCode::OK).await;
    let tokens = fixture.connect(0, SCOPE).await;
    fixture.watch(&tokens, "c1", json!({})).await;
    let reason = async |id: &str, more: Value| {
        let response = fixture.watch(&tokens, id, more).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        let body = json_of(response).await;
        text(&body["error"]["errors"][0], "reason")
    };
    assert_eq!(reason("c1", json!({})).await, "channelIdNotUnique");
    let plain = json!({ "address": "http://hooks.example/push" });
    assert_eq!(reason("c2", plain).await, "push.webhookUrlNotHttps");
    let kind = json!({ "type": "mail" });
    assert_eq!(reason("c2", kind).await, "push.channelTypeNotSupported");
}

#[tokio::test]
async fn message_is_retried_for_server_errors_only() {
    for (status, attempts) in [
        (StatusCode::SERVICE_UNAVAILABLE, 4),
        (StatusCode::TOO_MANY_REQUESTS, 1),
    ] {
        let fixture = fixture(status).await;
        let tokens = fixture.connect(0, SCOPE).await;
        fixture.watch(&tokens, "c1", json!({})).await;
        assert_eq!(
            fixture.delivered_messages().await.len(),
            attempts,
            "{status}"
        );
    }
}

#[tokio::test]
async fn faults_change_the_first_attempt_of_a_message() {
    let fixture = fixture(StatusCode::UNAUTHORIZED).await;
    let tokens = fixture.connect(0, SCOPE).await;
    fixture.watch(&tokens, "c1", json!({})).await;
    fixture.watch(&tokens, "c2", json!({})).await;
    for effect in [
        "wrong_signature",
        "no_signature",
        "stranger",
        "wrong_resource",
    ] {
        fixture.delivered_messages().await;
        fixture.messages.lock().expect("the messages").clear();
        let rule = json!({
            "target": "delivery", "effect": effect, "pattern": "changes.change", "count": 2,
        });
        fixture.control("faults", rule).await;
        fixture.act("file.created", json!({})).await;
        let messages = fixture.delivered_messages().await;
        let first = &messages[0];
        let (id, token) = (
            &first["x-goog-channel-id"],
            first.get("x-goog-channel-token"),
        );
        let own = format!("t-{id}");
        match effect {
            "wrong_signature" => assert!(token.is_some_and(|token| *token != own)),
            "no_signature" => assert!(token.is_none()),
            "stranger" => assert!(!["c1", "c2"].contains(&id.as_str())),
            _ => assert_eq!(token, Some(&own)),
        }
        assert_eq!(messages.len(), 4, "each is repeated once");
    }
}

#[tokio::test]
async fn first_message_may_precede_the_response() {
    let fixture = fixture(StatusCode::OK).await;
    let tokens = fixture.connect(0, SCOPE).await;
    let settings = json!({ "sync_before_answer": true });
    fixture.control("google/settings", settings).await;
    fixture.watch(&tokens, "c1", json!({})).await;
    let messages = fixture.messages.lock().expect("the messages").clone();
    assert_eq!(states(&messages), [("sync", "t-c1")]);
}
