//! Consent, and the probe of what it gives access to, against a mock server.

use serde_json::{Value, json};
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::sync::{queries, respond, scope_rejected};
use super::{ZohoCliq, account, cliq};
use crate::connectors::testing::{authorize_request, callback};
use crate::connectors::zoho_cliq::auth::{is_rejected, organization};
use crate::connectors::{CallbackOutcome, Connector, NewGrant};
use crate::model::ExternalAccount;

const SCOPES: &str = "ZohoCliq.Channels.READ,ZohoCliq.Chats.READ,ZohoCliq.Messages.READ,\
                      ZohoCliq.Users.READ,AaaServer.profile.READ";

/// Zoho's answers to a consent with these scopes.
async fn consent(server: &MockServer, scopes: &str) {
    let tokens = json!({ "access_token": "a-token", "refresh_token": "r-token",
        "expires_in": 3600, "scope": scopes, "token_type": "Bearer" });
    let person = json!({ "ZUID": 64_800_201, "Email": "ada@example.com" });
    for (at, body) in [
        ("/us/oauth/v2/token", tokens),
        ("/us/oauth/user/info", person),
    ] {
        Mock::given(path(at))
            .respond_with(ResponseTemplate::new(200).set_body_json(body))
            .mount(server)
            .await;
    }
}

/// Answers the calls of the probe; `None` rejects the scope.
async fn answer(server: &MockServer, at: &str, body: Option<Value>) {
    let (status, body) = match body {
        Some(body) => (200, body),
        None => (401, scope_rejected()),
    };
    Mock::given(path(format!("/us/api/v2/{at}")))
        .respond_with(ResponseTemplate::new(status).set_body_json(body))
        .mount(server)
        .await;
}

fn channels() -> Value {
    let channel = json!({ "channel_id": "T1", "chat_id": "CT_1", "organization_id": "64800112" });
    json!({ "channels": [channel] })
}

fn chats() -> Value {
    json!({ "chats": [{ "chat_id": "22300001", "chat_type": "dm" }] })
}

fn user() -> Value {
    json!({ "data": { "id": "64800201", "organization_id": "64800112" } })
}

async fn outcome(cliq: &ZohoCliq) -> CallbackOutcome {
    let query = [("code", "1000.a.b"), ("state", "a state")];
    let outcome = cliq.exchange_token(callback(&query, None)).await;
    outcome.expect("an outcome")
}

async fn grant(cliq: &ZohoCliq) -> Box<NewGrant> {
    match outcome(cliq).await {
        CallbackOutcome::Connected(grant) => grant,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn consent_connects_the_person_and_the_organization() {
    let (server, cliq) = cliq().await;
    let page = cliq.authorize(&authorize_request(None)).expect("a URL");
    let mut pairs = page.query_pairs();
    let (_, scope) = pairs.find(|(name, _)| name == "scope").expect("scopes");
    assert_eq!(scope, SCOPES);

    consent(&server, SCOPES).await;
    answer(&server, "channels", Some(channels())).await;
    answer(&server, "chats", Some(chats())).await;
    answer(&server, "chats/CT_1/messages", Some(json!({ "data": [] }))).await;
    answer(&server, "users/64800201", Some(user())).await;
    let grant = grant(&cliq).await;
    let expected = ExternalAccount {
        id: "us:64800201".to_owned(),
        stable_id: "us:64800201".to_owned(),
        ..account()
    };
    assert_eq!(grant.account.id, expected.id);
    assert_eq!(grant.account.name, expected.name);
    assert_eq!(organization(&grant.account), organization(&expected));
    assert_eq!(grant.scopes.join(","), SCOPES);
    let probed = server.received_requests().await.expect("requests").len();
    assert_eq!(probed, 2 + 4, "a call for each scope");
}

#[tokio::test]
async fn rejected_scope_is_one_that_was_not_granted() {
    let (server, cliq) = cliq().await;
    consent(&server, SCOPES).await;
    answer(&server, "channels", Some(channels())).await;
    answer(&server, "chats", Some(chats())).await;
    answer(&server, "chats/CT_1/messages", None).await;
    answer(&server, "users/64800201", None).await;
    let grant = grant(&cliq).await;
    let rejected = ["ZohoCliq.Messages.READ", "ZohoCliq.Users.READ"];
    for scope in rejected {
        assert!(is_rejected(&grant.account, scope), "{scope}");
        assert!(!grant.scopes.contains(&scope.to_owned()), "{scope}");
    }
    assert_eq!(grant.scopes.len(), 3);
    assert_eq!(
        organization(&grant.account),
        Some("64800112"),
        "of the channel"
    );
    // The streams that need the scope name it, without a call.
    let stream = cliq
        .descriptor()
        .verify_stream_scope("chat:CT_1", &grant.scopes);
    assert!(stream.is_err());
    let stream = cliq
        .descriptor()
        .verify_stream_scope("channels", &grant.scopes);
    assert!(stream.is_ok());
}

#[tokio::test]
async fn withheld_scope_is_not_probed() {
    let (server, cliq) = cliq().await;
    let granted = "ZohoCliq.Chats.READ ZohoCliq.Messages.READ AaaServer.profile.READ";
    consent(&server, granted).await;
    answer(&server, "chats", Some(chats())).await;
    answer(
        &server,
        "chats/22300001/messages",
        Some(json!({ "data": [] })),
    )
    .await;
    let grant = grant(&cliq).await;
    assert!(is_rejected(&grant.account, "ZohoCliq.Channels.READ"));
    let requests = server.received_requests().await.expect("requests");
    assert_eq!(requests.len(), 2 + 2, "the two granted ones");
}

#[tokio::test]
async fn consent_without_a_readable_list_is_rejected() {
    for body in [scope_rejected(), json!({ "code": "access_denied" })] {
        let (server, cliq) = cliq().await;
        consent(&server, SCOPES).await;
        let status = if body == scope_rejected() { 401 } else { 403 };
        for at in ["channels", "chats", "users/64800201"] {
            Mock::given(path(format!("/us/api/v2/{at}")))
                .respond_with(ResponseTemplate::new(status).set_body_json(body.clone()))
                .mount(&server)
                .await;
        }
        match outcome(&cliq).await {
            CallbackOutcome::Rejected { reason, grant } => {
                let is_named = reason.contains("ZohoCliq.Channels.READ, ZohoCliq.Chats.READ");
                assert_eq!(is_named, status == 401, "{reason}");
                assert_eq!(grant.account.id, "us:64800201");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn locked_endpoint_does_not_prevent_a_connection() {
    let (server, cliq) = cliq().await;
    consent(&server, SCOPES).await;
    let locked = json!({ "code": "request_limit_exceeded" });
    for at in ["channels", "chats"] {
        Mock::given(path(format!("/us/api/v2/{at}")))
            .respond_with(ResponseTemplate::new(400).set_body_json(locked.clone()))
            .mount(&server)
            .await;
    }
    answer(&server, "users/64800201", Some(user())).await;
    let grant = grant(&cliq).await;
    assert_eq!(grant.scopes.join(","), SCOPES);
}

#[tokio::test]
async fn names_of_users_are_looked_up() {
    use crate::connectors::Access;
    use crate::model::{DirectoryKey, DirectoryKind};

    let (server, cliq) = cliq().await;
    let found =
        json!({ "data": { "id": "64800202", "display_name": "Grace", "name": "Grace Hopper" } });
    respond(&server, "users/64800202", 200, found).await;
    respond(
        &server,
        "users/64800203",
        404,
        json!({ "code": "user_not_found" }),
    )
    .await;
    let keys = [
        DirectoryKey::new(DirectoryKind::User, "64800202"),
        DirectoryKey::new(DirectoryKind::User, "64800203"),
        DirectoryKey::new(DirectoryKind::Channel, "CT_1"),
    ];
    let access = Access {
        account: account(),
        token: "a-token".into(),
        user_token: None,
    };
    let entries = cliq
        .resolve_directory(&access, &keys)
        .await
        .expect("entries");
    let names: Vec<_> = entries.iter().map(|entry| entry.name.as_deref()).collect();
    assert_eq!(names, [Some("Grace Hopper")]);
    assert_eq!(queries(&server, "users/64800202").await, [""]);
}
