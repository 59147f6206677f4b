//! The token of whoever installed the app: asked for, kept apart, and used where the bot may
//! not read.

use serde_json::{Value, json};
use url::Url;
use wiremock::matchers::{header, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::connect::callback;
use super::{account, connector, now};
use crate::connectors::{
    Access, AuthorizeRequest, CallbackOutcome, Connector, StreamSpec, SyncRequest,
};

async fn answers(server: &MockServer, method: &str, token: Option<&str>, answer: &Value) {
    let mut mock = Mock::given(path(format!("/api/{method}")));
    if let Some(token) = token {
        mock = mock.and(header("authorization", format!("Bearer {token}")));
    }
    mock.respond_with(ResponseTemplate::new(200).set_body_json(answer))
        .mount(server)
        .await;
}

#[tokio::test]
async fn a_person_is_asked_only_where_the_operator_wants_it() {
    for (scopes, asked) in [
        ("", None),
        (
            "channels:history, groups:history",
            Some("channels:history,groups:history"),
        ),
    ] {
        let more = [("POBLYSH_SLACK_USER_SCOPES", scopes)];
        let (slack, _) = connector("http://localhost:1", &more);
        let request = AuthorizeRequest {
            state: "a state".to_owned(),
            redirect_uri: Url::parse("https://poblysh.example/callback").expect("a URL"),
            code_challenge: "unused".to_owned(),
            carry: None,
        };
        let url = slack.authorize(&request).expect("a URL");
        let found = url.query_pairs().find(|(name, _)| name == "user_scope");
        assert_eq!(found.as_ref().map(|(_, value)| &**value), asked);
    }
}

#[tokio::test]
async fn a_person_s_token_comes_beside_the_bot_s_and_ends_by_itself() {
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
    answers(&server, "oauth.v2.access", None, &installed).await;
    let who = json!({ "ok": true, "url": "https://acme.slack.com/", "team": "Acme" });
    answers(&server, "auth.test", None, &who).await;
    let outcome = slack.exchange_token(callback(&[("code", "c0de")])).await;
    let CallbackOutcome::Connected(grant) = outcome.expect("an outcome") else {
        panic!("a grant");
    };
    assert_eq!(grant.account, account());
    let (bot, person) = (
        grant.tokens.expect("the bot's"),
        grant.person.expect("theirs"),
    );
    assert_eq!(bot.expires_at, Some(now() + chrono::Duration::hours(12)));
    assert_eq!(
        person.expires_at,
        Some(now() + chrono::Duration::seconds(40_000))
    );
    assert!(bot.refresh_token.is_some() && person.refresh_token.is_some());
}

/// Reads a channel with one thread; answers how many Signals there were, and what Slack denied.
async fn read(server: &MockServer, person: Option<&str>) -> (usize, Option<&'static str>) {
    let parent = json!({
        "type": "message", "user": "U0ADA", "text": "who knows?", "ts": "1699999000.000100",
        "thread_ts": "1699999000.000100", "reply_count": 1, "latest_reply": "1699999100.000100",
    });
    let history = json!({ "ok": true, "messages": [parent], "has_more": false });
    answers(server, "conversations.history", None, &history).await;
    let (slack, _) = connector(&server.uri(), &[]);
    let mut request = SyncRequest {
        access: Access {
            account: account(),
            token: "xoxb-bot".into(),
            person: person.map(Into::into),
        },
        stream: StreamSpec {
            key: "messages:C0GENERAL".to_owned(),
            resource_id: Some("C0GENERAL".to_owned()),
            target: json!({}),
        },
        cursor: None,
        horizon: now() - chrono::Duration::days(7),
        until: now(),
        reconcile_from: None,
        failures: 0,
        priority: crate::http::Priority::Poll,
        directory: super::directory().into(),
    };
    let mut told = 0;
    loop {
        let page = slack.sync(request.clone()).await.expect("a page");
        told += page.signals.len();
        if !page.more {
            return (told, page.denied_part);
        }
        request.cursor = Some(page.cursor);
    }
}

#[tokio::test]
async fn threads_that_the_bot_may_not_read_are_read_with_the_person_s_token() {
    let refusal = json!({ "ok": false, "error": "not_allowed_token_type" });
    let reply = json!({
        "type": "message", "user": "U0BOB", "text": "I do", "ts": "1699999100.000100",
        "thread_ts": "1699999000.000100",
    });
    let replies = json!({ "ok": true, "messages": [reply], "has_more": false });
    let revoked = json!({ "ok": false, "error": "token_revoked" });
    let denied = Some("replies in threads");
    for (person, answer, told) in [
        (None, &replies, (1, denied)),
        (Some("xoxp-person"), &replies, (2, None)),
        // The end of the person's token ends nothing else.
        (Some("xoxp-person"), &revoked, (1, denied)),
    ] {
        let server = MockServer::start().await;
        let method = "conversations.replies";
        answers(&server, method, Some("xoxb-bot"), &refusal).await;
        answers(&server, method, Some("xoxp-person"), answer).await;
        assert_eq!(read(&server, person).await, told, "{person:?} {answer}");
    }
}

#[tokio::test]
async fn only_a_thread_that_is_gone_counts_as_read() {
    for (word, denied) in [
        ("thread_not_found", None),
        ("message_not_found", None),
        ("missing_scope", Some("replies in threads")),
        ("not_allowed_token_type", Some("replies in threads")),
        ("access_denied", Some("replies in threads")),
    ] {
        let server = MockServer::start().await;
        let refusal = json!({ "ok": false, "error": word });
        answers(&server, "conversations.replies", None, &refusal).await;
        assert_eq!(read(&server, None).await, (1, denied), "{word}");
    }
}
