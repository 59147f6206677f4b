//! Connecting, renewing and ending, against a server.

use serde_json::{Value, json};
use url::Url;
use wiremock::matchers::{basic_auth, body_string, body_string_contains, header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{account, now, slack};
use crate::connectors::slack::Slack;
use crate::connectors::{
    Access, AuthorizeRequest, Callback, CallbackOutcome, Connector, ConnectorError, DirectoryKey,
    DirectoryKind, Grant, GrantState, LimitScope, RefreshRequest, TokenSet,
};

const REDIRECT: &str = "https://poblysh.example/v1/connect/slack/callback";

pub(super) fn callback(query: &[(&str, &str)]) -> Callback {
    Callback {
        query: query
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        code_verifier: "unused".into(),
        redirect_uri: Url::parse(REDIRECT).expect("a URL"),
        carry: None,
    }
}

async fn answers(server: &MockServer, name: &str, answer: Value) {
    Mock::given(method("POST"))
        .and(path(format!("/api/{name}")))
        .respond_with(ResponseTemplate::new(200).set_body_json(answer))
        .mount(server)
        .await;
}

fn installation() -> Value {
    json!({
        "ok": true, "app_id": "A0POBLYSH", "access_token": "xoxb-1", "token_type": "bot",
        "scope": "channels:read,channels:history", "bot_user_id": "U0BOT",
        "team": { "id": "T0ACME", "name": "Acme" }, "enterprise": null,
        "is_enterprise_install": false,
        "authed_user": { "id": "U0ADA" },
    })
}

async fn connect(slack: &Slack) -> CallbackOutcome {
    slack
        .exchange_token(callback(&[("code", "c0de")]))
        .await
        .expect("an outcome")
}

#[tokio::test]
async fn the_browser_goes_to_slack_with_our_scopes() {
    let (_server, slack, _) = slack().await;
    let url = slack
        .authorize(&AuthorizeRequest {
            state: "a state".to_owned(),
            redirect_uri: Url::parse(REDIRECT).expect("a URL"),
            code_challenge: "unused".to_owned(),
            carry: None,
        })
        .expect("a URL");
    assert_eq!(url.path(), "/oauth/v2/authorize");
    let query: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    for (name, value) in [
        ("client_id", "111.222"),
        ("redirect_uri", REDIRECT),
        ("state", "a state"),
    ] {
        assert!(
            query.contains(&(name.to_owned(), value.to_owned())),
            "{name}"
        );
    }
    let scope = query
        .iter()
        .find(|(name, _)| name == "scope")
        .expect("scopes");
    assert!(
        scope.1.contains("channels:history,channels:read"),
        "{}",
        scope.1
    );
    assert!(
        !query
            .iter()
            .any(|(name, _)| name.starts_with("code_challenge"))
    );
}

#[tokio::test]
async fn an_installation_becomes_a_grant() {
    for rotation in [false, true] {
        let (server, slack, _) = slack().await;
        let mut answer = installation();
        if rotation {
            answer["access_token"] = json!("xoxe.xoxb-1");
            answer["refresh_token"] = json!("xoxe-1-r");
            answer["expires_in"] = json!(43_200);
        }
        Mock::given(path("/api/oauth.v2.access"))
            .and(basic_auth("111.222", "the-new-client-secret"))
            .and(body_string_contains("code=c0de"))
            .respond_with(ResponseTemplate::new(200).set_body_json(answer))
            .mount(&server)
            .await;
        let who = json!({ "ok": true, "url": "https://acme.slack.com/", "team": "Acme" });
        answers(&server, "auth.test", who).await;
        let CallbackOutcome::Connected(grant) = connect(&slack).await else {
            panic!("a grant");
        };
        assert_eq!(grant.account, account());
        assert_eq!(grant.scopes, ["channels:read", "channels:history"]);
        let tokens = grant.tokens.expect("tokens");
        assert_eq!(tokens.refresh_token.is_some(), rotation);
        let end = rotation.then(|| now() + chrono::Duration::hours(12));
        assert_eq!(tokens.expires_at, end);
    }
}

#[tokio::test]
async fn an_organization_is_an_account_of_its_own() {
    let (server, slack, _) = slack().await;
    let mut answer = installation();
    answer["team"] = Value::Null;
    answer["enterprise"] = json!({ "id": "E0ORG", "name": "Org" });
    answer["is_enterprise_install"] = json!(true);
    answers(&server, "oauth.v2.access", answer).await;
    let who = json!({ "ok": true, "url": "https://org.enterprise.slack.com/" });
    answers(&server, "auth.test", who).await;
    let CallbackOutcome::Connected(grant) = connect(&slack).await else {
        panic!("a grant");
    };
    assert_eq!(grant.account.id, "E0ORG");
    assert_eq!(grant.account.settings["organization"], true);
}

#[tokio::test]
async fn an_installation_that_names_no_workspace_is_none() {
    let (server, slack, _) = slack().await;
    let mut tokens = installation();
    tokens["team"]["id"] = json!("");
    answers(&server, "oauth.v2.access", tokens).await;
    let outcome = slack.exchange_token(callback(&[("code", "c0de")])).await;
    assert!(
        matches!(outcome, Err(ConnectorError::Permanent(_))),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn what_slack_refuses_is_told_apart() {
    for (word, denied) in [
        ("invalid_code", true),
        ("code_already_used", true),
        ("cannot_install_an_org_installed_app", true),
        ("bad_client_secret", false),
        ("invalid_client_id", false),
        ("bad_redirect_uri", false),
    ] {
        let (server, slack, _) = slack().await;
        answers(
            &server,
            "oauth.v2.access",
            json!({ "ok": false, "error": word }),
        )
        .await;
        match slack.exchange_token(callback(&[("code", "c0de")])).await {
            Ok(CallbackOutcome::Denied { .. }) => assert!(denied, "{word}"),
            Err(ConnectorError::Permanent(_)) => assert!(!denied, "{word}"),
            other => panic!("{word}: {other:?}"),
        }
    }
    let (_server, slack, _) = slack().await;
    for query in [&[("error", "access_denied")][..], &[], &[("code", "")]] {
        let outcome = slack
            .exchange_token(callback(query))
            .await
            .expect("an outcome");
        assert!(
            matches!(outcome, CallbackOutcome::Denied { .. }),
            "{outcome:?}"
        );
    }
    let odd = slack
        .exchange_token(callback(&[("error", "invalid_team")]))
        .await;
    assert!(matches!(odd, Err(ConnectorError::Permanent(_))), "{odd:?}");
}

#[tokio::test]
async fn the_second_client_secret_is_tried_when_the_first_is_refused() {
    let (server, slack, _) = slack().await;
    for (secret, answer) in [
        (
            "the-new-client-secret",
            json!({ "ok": false, "error": "bad_client_secret" }),
        ),
        ("the-old-client-secret", installation()),
    ] {
        Mock::given(path("/api/oauth.v2.access"))
            .and(basic_auth("111.222", secret))
            .respond_with(ResponseTemplate::new(200).set_body_json(answer))
            .expect(1)
            .mount(&server)
            .await;
    }
    answers(&server, "auth.test", json!({ "ok": true })).await;
    assert!(matches!(
        connect(&slack).await,
        CallbackOutcome::Connected(_)
    ));
}

async fn refresh(slack: &Slack, token: Option<&str>) -> Result<TokenSet, ConnectorError> {
    slack
        .refresh_token(RefreshRequest {
            access_token: Some("xoxb-1".into()),
            account: account(),
            refresh_token: token.map(Into::into),
        })
        .await
}

#[tokio::test]
async fn a_token_rotates_until_slack_says_that_the_grant_is_gone() {
    let (server, slack, _) = slack().await;
    Mock::given(path("/api/oauth.v2.access"))
        .and(body_string_contains("grant_type=refresh_token"))
        .and(body_string_contains("refresh_token=xoxe-1-good"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({
            "ok": true, "access_token": "xoxe.xoxb-2", "refresh_token": "xoxe-1-next",
            "expires_in": 43_200, "token_type": "bot",
        })))
        .mount(&server)
        .await;
    let tokens = refresh(&slack, Some("xoxe-1-good")).await.expect("tokens");
    assert!(tokens.refresh_token.is_some());
    let dead = json!({ "ok": false, "error": "invalid_refresh_token" });
    answers(&server, "oauth.v2.access", dead).await;
    let error = refresh(&slack, Some("xoxe-1-used")).await;
    assert!(
        matches!(error, Err(ConnectorError::GrantRevoked(_))),
        "{error:?}"
    );
}

#[tokio::test]
async fn slack_is_asked_about_a_token_that_does_not_rotate() {
    for (word, code) in [
        ("token_revoked", "grant_revoked"),
        ("account_inactive", "grant_revoked"),
        ("invalid_auth", "unauthorized"),
        ("internal_error", "transient"),
    ] {
        let (server, slack, _) = slack().await;
        answers(&server, "auth.test", json!({ "ok": false, "error": word })).await;
        let error = refresh(&slack, None).await.expect_err("a refusal");
        assert_eq!(error.code(), code, "{word}");
    }
    let (server, slack, _) = slack().await;
    answers(&server, "auth.test", json!({ "ok": true })).await;
    let tokens = refresh(&slack, None).await.expect("the same token");
    assert!(tokens.expires_at.is_none());
}

#[tokio::test]
async fn an_outage_is_no_end_of_a_grant() {
    for status in [500, 502, 503] {
        let (server, slack, _) = slack().await;
        Mock::given(path("/api/oauth.v2.access"))
            .respond_with(ResponseTemplate::new(status))
            .mount(&server)
            .await;
        let error = refresh(&slack, Some("xoxe-1")).await;
        assert!(
            matches!(error, Err(ConnectorError::Transient(_))),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn ending_a_grant_uninstalls_the_app_and_a_dead_one_has_ended() {
    for answer in [
        json!({ "ok": true }),
        json!({ "ok": false, "error": "token_revoked" }),
        json!({ "ok": false, "error": "account_inactive" }),
    ] {
        let (server, slack, _) = slack().await;
        Mock::given(path("/api/apps.uninstall"))
            .and(header("authorization", "Bearer xoxb-1"))
            .respond_with(ResponseTemplate::new(200).set_body_json(answer))
            .expect(1)
            .mount(&server)
            .await;
        let grant = Grant {
            account: account(),
            access_token: Some("xoxb-1".into()),
            refresh_token: None,
        };
        slack.revoke(&grant).await.expect("ended");
    }
}

#[tokio::test]
async fn a_limit_blocks_the_method_in_the_workspace() {
    let (server, slack, gate) = slack().await;
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
        person: None,
    };
    let keys = [DirectoryKey::new(DirectoryKind::User, "U1")];
    let error = slack.look_up(&access, &keys).await;
    assert!(
        matches!(error, Err(ConnectorError::RateLimited { .. })),
        "{error:?}"
    );
    let (account, method, seen) = gate.seen().remove(0);
    assert_eq!((account.as_str(), method), ("T0ACME", "users.info"));
    assert_eq!(seen.reach, LimitScope::Operation);
    assert_eq!(
        seen.blocked_until,
        Some(now() + chrono::Duration::seconds(30))
    );
}

#[tokio::test]
async fn names_are_looked_up_and_strangers_are_left_out() {
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
    answers(&server, "users.info", ada).await;
    let channel = json!({ "ok": true, "channel": { "id": "C1", "name": "general" } });
    answers(&server, "conversations.info", channel).await;
    let access = Access {
        account: account(),
        token: "xoxb-1".into(),
        person: None,
    };
    let keys = [
        DirectoryKey::new(DirectoryKind::User, "U0ADA"),
        DirectoryKey::new(DirectoryKind::User, "U0STRANGER"),
        DirectoryKey::new(DirectoryKind::Channel, "C1"),
    ];
    let found = slack.look_up(&access, &keys).await.expect("entries");
    let names: Vec<_> = found.iter().map(|entry| entry.name.as_deref()).collect();
    assert_eq!(names, [Some("Ada L"), Some("general")]);
}

#[tokio::test]
async fn a_bot_of_an_organization_is_looked_up_in_the_organization() {
    for (organization, told) in [(false, "bot=B0CI"), (true, "bot=B0CI&team_id=E0ACME")] {
        let (server, slack, _) = slack().await;
        Mock::given(path("/api/bots.info"))
            .and(body_string(told))
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
            person: None,
        };
        let keys = [DirectoryKey::new(DirectoryKind::Bot, "B0CI")];
        let found = slack.look_up(&access, &keys).await.expect("entries");
        assert_eq!(found[0].name.as_deref(), Some("Build"));
    }
}

#[tokio::test]
async fn grant_is_gone_only_by_slacks_word() {
    for (word, expected) in [
        ("token_revoked", Ok(GrantState::Revoked)),
        ("account_inactive", Ok(GrantState::Removed)),
        ("invalid_auth", Ok(GrantState::Revoked)),
        ("token_expired", Err("unauthorized")),
        ("missing_scope", Err("permission")),
        ("internal_error", Err("transient")),
        ("ratelimited", Err("rate_limited")),
        ("something_new", Err("permanent")),
    ] {
        let (server, slack, _) = slack().await;
        answers(&server, "auth.test", json!({ "ok": false, "error": word })).await;
        let state = slack.grant_state(&grant(Some("xoxb-1"))).await;
        assert_eq!(state.map_err(|error| error.code()), expected, "{word}");
    }
    let (server, slack, _) = slack().await;
    answers(&server, "auth.test", json!({ "ok": true })).await;
    let state = slack.grant_state(&grant(Some("xoxb-1"))).await;
    assert_eq!(state.map_err(|error| error.code()), Ok(GrantState::Active));
}

#[tokio::test]
async fn missing_token_says_nothing_of_the_grant() {
    let (_server, slack, _) = slack().await;
    let state = slack.grant_state(&grant(None)).await;
    assert_eq!(state.map_err(|error| error.code()), Err("permanent"));
    let refreshed = slack.refresh_token(RefreshRequest {
        access_token: None,
        account: account(),
        refresh_token: None,
    });
    assert_eq!(refreshed.await.expect_err("no token").code(), "permanent");
}

fn grant(token: Option<&str>) -> Grant {
    Grant {
        account: account(),
        access_token: token.map(Into::into),
        refresh_token: None,
    }
}
