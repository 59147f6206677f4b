//! Names of users, bots and channels that Slack is asked for.

use serde_json::json;
use wiremock::matchers::{body_string, body_string_contains, path};
use wiremock::{Mock, ResponseTemplate};

use super::connect::mock_method;
use super::{account, now, slack};
use crate::connectors::{Access, Connector, ConnectorError};
use crate::model::{DirectoryKey, DirectoryKind, LimitScope};

#[tokio::test]
async fn rate_limit_blocks_method_in_workspace() {
    let (server, slack, rate_limiter) = slack().await;
    Mock::given(path("/api/users.info"))
        .respond_with(
            ResponseTemplate::new(429)
                .insert_header("retry-after", "30")
                .set_body_json(json!({ "ok": false, "error": "ratelimited" })),
        )
        .mount(&server)
        .await;
    let access = Access {
        account: account(),
        token: "xoxb-1".into(),
        user_token: None,
    };
    let keys = [DirectoryKey::new(DirectoryKind::User, "U1")];
    let error = slack.resolve_directory(&access, &keys).await;
    assert!(
        matches!(error, Err(ConnectorError::RateLimited { .. })),
        "{error:?}"
    );
    let (account, method, seen) = rate_limiter.seen().remove(0);
    assert_eq!((account.as_str(), method), ("T0ACME", "users.info"));
    assert_eq!(seen.scope, LimitScope::Operation);
    assert_eq!(
        seen.blocked_until,
        Some(now() + chrono::Duration::seconds(30))
    );
}

#[tokio::test]
async fn lookup_omits_unknown_users() {
    let (server, slack, _) = slack().await;
    Mock::given(path("/api/users.info"))
        .and(body_string_contains("user=U0STRANGER"))
        .respond_with(
            ResponseTemplate::new(200)
                .set_body_json(json!({ "ok": false, "error": "user_not_found" })),
        )
        .mount(&server)
        .await;
    let ada = json!({ "ok": true, "user": { "id": "U0ADA", "name": "ada", "is_bot": false,
                      "profile": { "display_name": "", "real_name": "Ada L" } } });
    mock_method(&server, "users.info", ada).await;
    let channel = json!({ "ok": true, "channel": { "id": "C1", "name": "general" } });
    mock_method(&server, "conversations.info", channel).await;
    let access = Access {
        account: account(),
        token: "xoxb-1".into(),
        user_token: None,
    };
    let keys = [
        DirectoryKey::new(DirectoryKind::User, "U0ADA"),
        DirectoryKey::new(DirectoryKind::User, "U0STRANGER"),
        DirectoryKey::new(DirectoryKind::Channel, "C1"),
    ];
    let found = slack
        .resolve_directory(&access, &keys)
        .await
        .expect("entries");
    let names: Vec<_> = found.iter().map(|entry| entry.name.as_deref()).collect();
    assert_eq!(names, [Some("Ada L"), Some("general")]);
}

#[tokio::test]
async fn organization_bot_lookup_sends_team_id() {
    for (organization, body) in [(false, "bot=B0CI"), (true, "bot=B0CI&team_id=E0ACME")] {
        let (server, slack, _) = slack().await;
        Mock::given(path("/api/bots.info"))
            .and(body_string(body))
            .respond_with(
                ResponseTemplate::new(200)
                    .set_body_json(json!({ "ok": true, "bot": { "id": "B0CI", "name": "Build" } })),
            )
            .expect(1)
            .mount(&server)
            .await;
        let mut account = account();
        account.settings["organization"] = json!(organization);
        if organization {
            "E0ACME".clone_into(&mut account.id);
        }
        let access = Access {
            account,
            token: "xoxb-1".into(),
            user_token: None,
        };
        let keys = [DirectoryKey::new(DirectoryKind::Bot, "B0CI")];
        let found = slack
            .resolve_directory(&access, &keys)
            .await
            .expect("entries");
        assert_eq!(found[0].name.as_deref(), Some("Build"));
    }
}
