//! The installer's user token: requested by scope, stored separately, used for denied threads.

use serde_json::{Value, json};
use wiremock::matchers::{header, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{account, connector, now};
use crate::connectors::testing::{authorize_request, callback};
use crate::connectors::{Access, CallbackOutcome, Connector, SyncRequest};
use crate::model::StreamSpec;

async fn mock_method(server: &MockServer, method: &str, token: Option<&str>, response: &Value) {
    let mut mock = Mock::given(path(format!("/api/{method}")));
    if let Some(token) = token {
        mock = mock.and(header("authorization", format!("Bearer {token}")));
    }
    mock.respond_with(ResponseTemplate::new(200).set_body_json(response))
        .mount(server)
        .await;
}

#[tokio::test]
async fn user_scopes_are_requested_only_if_configured() {
    for (scopes, requested) in [
        ("", None),
        (
            "channels:history, groups:history",
            Some("channels:history,groups:history"),
        ),
    ] {
        let settings = [("SLACK_USER_SCOPES", scopes)];
        let (slack, _) = connector("http://localhost:1", &settings);
        let url = slack.authorize(&authorize_request(None)).expect("a URL");
        let found = url.query_pairs().find(|(name, _)| name == "user_scope");
        assert_eq!(found.as_ref().map(|(_, value)| &**value), requested);
    }
}

#[tokio::test]
async fn user_token_has_separate_expiry() {
    let server = MockServer::start().await;
    let (slack, _) = connector(&server.uri(), &[]);
    let installed = json!({
        "ok": true, "app_id": "A0POBLYSH", "access_token": "xoxe.xoxb-1", "token_type": "bot",
        "refresh_token": "xoxe-1-bot", "expires_in": 43_200, "scope": "channels:read",
        "bot_user_id": "U0BOT", "team": { "id": "T0ACME", "name": "Acme" },
        "authed_user": {
            "id": "U0ADA", "scope": "channels:history", "access_token": "xoxe.xoxp-1",
            "token_type": "user", "refresh_token": "xoxe-1-person", "expires_in": 40_000,
        },
    });
    mock_method(&server, "oauth.v2.access", None, &installed).await;
    let who = json!({ "ok": true, "url": "https://acme.slack.com/", "team": "Acme" });
    mock_method(&server, "auth.test", None, &who).await;
    let outcome = slack
        .exchange_token(callback(&[("code", "c0de")], None))
        .await;
    let CallbackOutcome::Connected(grant) = outcome.expect("an outcome") else {
        panic!("a grant");
    };
    assert_eq!(grant.account, account());
    let (bot, user_token) = (
        grant.tokens.expect("the bot's"),
        grant.user_token.expect("the installer's"),
    );
    assert_eq!(user_token.user_id, "U0ADA");
    assert_eq!(bot.expires_at, Some(now() + chrono::Duration::hours(12)));
    assert_eq!(
        user_token.tokens.expires_at,
        Some(now() + chrono::Duration::seconds(40_000))
    );
    assert!(bot.refresh_token.is_some() && user_token.tokens.refresh_token.is_some());
}

/// Reads a channel with one thread; returns the number of Signals and the denied part.
async fn read_channel(
    server: &MockServer,
    user_token: Option<&str>,
) -> (usize, Option<&'static str>) {
    let parent = json!({
        "type": "message", "user": "U0ADA", "text": "who knows?", "ts": "1699999000.000100",
        "thread_ts": "1699999000.000100", "reply_count": 1, "latest_reply": "1699999100.000100",
    });
    let history = json!({ "ok": true, "messages": [parent], "has_more": false });
    mock_method(server, "conversations.history", None, &history).await;
    let (slack, _) = connector(&server.uri(), &[]);
    let mut request = SyncRequest {
        access: Access {
            account: account(),
            token: "xoxb-bot".into(),
            user_token: user_token.map(Into::into),
        },
        stream: StreamSpec {
            key: "messages:C0GENERAL".to_owned(),
            resource_id: Some("C0GENERAL".to_owned()),
            target: json!({}),
        },
        cursor: None,
        backfill_from: now() - chrono::Duration::days(7),
        upper_bound: now(),
        resync_from: None,
        reconcile_from: None,
        failures: 0,
        priority: crate::http::Priority::Poll,
        directory: super::directory().into(),
    };
    let mut signals = 0;
    loop {
        let page = slack.sync(request.clone()).await.expect("a page");
        signals += page.signals.len();
        if !page.has_more {
            return (signals, page.denied_part);
        }
        request.cursor = Some(page.cursor);
    }
}

#[tokio::test]
async fn denied_threads_are_read_with_user_token() {
    let error = json!({ "ok": false, "error": "not_allowed_token_type" });
    let reply = json!({
        "type": "message", "user": "U0BOB", "text": "I do", "ts": "1699999100.000100",
        "thread_ts": "1699999000.000100",
    });
    let replies = json!({ "ok": true, "messages": [reply], "has_more": false });
    let revoked = json!({ "ok": false, "error": "token_revoked" });
    let denied = Some("replies in threads");
    for (user_token, response, expected) in [
        (None, &replies, (1, denied)),
        (Some("xoxp-person"), &replies, (2, None)),
        // A revoked user token only denies the thread.
        (Some("xoxp-person"), &revoked, (1, denied)),
    ] {
        let server = MockServer::start().await;
        let method = "conversations.replies";
        mock_method(&server, method, Some("xoxb-bot"), &error).await;
        mock_method(&server, method, Some("xoxp-person"), response).await;
        let result = read_channel(&server, user_token).await;
        assert_eq!(result, expected, "{user_token:?} {response}");
    }
}

#[tokio::test]
async fn only_missing_threads_count_as_read() {
    for (code, denied) in [
        ("thread_not_found", None),
        ("message_not_found", None),
        ("missing_scope", Some("replies in threads")),
        ("not_allowed_token_type", Some("replies in threads")),
        ("access_denied", Some("replies in threads")),
    ] {
        let server = MockServer::start().await;
        let error = json!({ "ok": false, "error": code });
        mock_method(&server, "conversations.replies", None, &error).await;
        assert_eq!(read_channel(&server, None).await, (1, denied), "{code}");
    }
}
