//! Tests of the connect flow with a server.

mod exchange;

use serde_json::{Value, json};
use wiremock::matchers::{body_string_contains, header, header_exists, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{connector, github};
use crate::connectors::github::GitHub;
use crate::connectors::testing::{CHALLENGE, REDIRECT, authorize_request, callback};
use crate::connectors::{Callback, CallbackOutcome, Connector, ConnectorError};

async fn mount_token_response(server: &MockServer, response: Value) {
    Mock::given(method("POST"))
        .and(path("/login/oauth/access_token"))
        .and(header("accept", "application/json"))
        .and(body_string_contains("code_verifier=dBjftJeZ4CVP"))
        .respond_with(ResponseTemplate::new(200).set_body_json(response))
        .mount(server)
        .await;
}

/// Mounts a user with access to these installations, in pages of one.
async fn mount_user(server: &MockServer, installations: &[u64]) {
    mount_token_response(
        server,
        json!({ "access_token": "ghu_user", "token_type": "bearer" }),
    )
    .await;
    for (at, id) in installations.iter().enumerate() {
        let page = json!({ "total_count": installations.len(), "installations": [{ "id": id }] });
        let mut response = ResponseTemplate::new(200).set_body_json(page);
        if at + 1 < installations.len() {
            let next = format!("{}/api/v3/user/installations?page={}", server.uri(), at + 2);
            response = response.insert_header("link", format!("<{next}>; rel=\"next\"").as_str());
        }
        let mut mock = Mock::given(method("GET"))
            .and(path("/api/v3/user/installations"))
            .and(header("authorization", "Bearer ghu_user"));
        mock = if at == 0 {
            mock.and(query_param("per_page", "100"))
        } else {
            mock.and(query_param("page", (at + 1).to_string()))
        };
        mock.respond_with(response).mount(server).await;
    }
    if installations.is_empty() {
        Mock::given(method("GET"))
            .and(path("/api/v3/user/installations"))
            .respond_with(
                ResponseTemplate::new(200)
                    .set_body_json(json!({ "total_count": 0, "installations": [] })),
            )
            .mount(server)
            .await;
    }
    Mock::given(method("DELETE"))
        .and(path("/api/v3/applications/Iv1.client/token"))
        .and(header_exists("authorization"))
        .respond_with(ResponseTemplate::new(204))
        .expect(1)
        .mount(server)
        .await;
}

/// Mounts the user's id and the response for the membership of the organization.
async fn mount_membership(server: &MockServer, status: u16, role: &str, state: &str) {
    Mock::given(method("GET"))
        .and(path("/api/v3/user"))
        .respond_with(
            ResponseTemplate::new(200).set_body_json(json!({ "id": 480_938, "login": "hubot" })),
        )
        .mount(server)
        .await;
    Mock::given(method("GET"))
        .and(path("/api/v3/user/memberships/orgs/octo-org"))
        .and(header("authorization", "Bearer ghu_user"))
        .respond_with(ResponseTemplate::new(status).set_body_json(json!({
            "role": role, "state": state,
            "organization": { "id": 6_811_672, "login": "octo-org" },
        })))
        .mount(server)
        .await;
}

/// Context of the second step after a redirect without an installation.
fn unnamed() -> Value {
    json!({ "setup": "unnamed" })
}

async fn mount_installation(server: &MockServer, id: u64, suspended: bool) {
    Mock::given(method("GET"))
        .and(path(format!("/api/v3/app/installations/{id}")))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({
            "id": id,
            "account": { "id": 6_811_672, "login": "octo-org", "type": "Organization" },
            "repository_selection": "all",
            "permissions": { "issues": "read", "contents": "read" },
            "suspended_at": suspended.then_some("2026-11-01T00:00:00Z"),
        })))
        .mount(server)
        .await;
}

async fn outcome(github: &GitHub, callback: Callback) -> CallbackOutcome {
    github.exchange_token(callback).await.expect("an outcome")
}

fn assert_denied(outcome: &CallbackOutcome) {
    assert!(
        matches!(outcome, CallbackOutcome::Denied { .. }),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn two_steps_lead_to_verified_grant() {
    let (server, github, _) = github().await;
    mount_user(&server, &[1, 7_654_321]).await;
    mount_membership(&server, 200, "admin", "active").await;
    mount_installation(&server, 7_654_321, false).await;

    let first = github.authorize(&authorize_request(None)).expect("a URL");
    assert_eq!(first.path(), "/github-apps/poblysh/installations/new");
    assert_eq!(first.query(), Some("state=a+state"));

    let back = callback(
        &[("installation_id", "7654321"), ("setup_action", "install")],
        None,
    );
    let CallbackOutcome::NextStep { context } = outcome(&github, back).await else {
        panic!("a second step");
    };
    let second = github
        .authorize(&authorize_request(Some(context.clone())))
        .expect("a URL");
    assert_eq!(second.path(), "/login/oauth/authorize");
    let query: Vec<(String, String)> = second.query_pairs().into_owned().collect();
    for (name, value) in [
        ("client_id", "Iv1.client"),
        ("redirect_uri", REDIRECT),
        ("state", "a state"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ] {
        assert!(
            query.contains(&(name.to_owned(), value.to_owned())),
            "{name}"
        );
    }

    let back = callback(&[("code", "c0de")], Some(context));
    let CallbackOutcome::Connected(grant) = outcome(&github, back).await else {
        panic!("a grant");
    };
    assert_eq!(grant.account.id, "7654321");
    assert_eq!(
        (
            grant.account.name.as_str(),
            grant.account.stable_id.as_str()
        ),
        ("octo-org", "6811672")
    );
    assert_eq!(grant.scopes, ["contents:read", "issues:read"]);
    assert!(grant.tokens.is_none());
    assert_eq!(grant.administrator.as_deref(), Some("480938"));
}

#[tokio::test]
async fn unreadable_installation_does_not_affect_others() {
    let (server, github, _) = github().await;
    let listed = json!({ "total_count": 2, "installations": [{ "id": {} }, { "id": 5 }] });
    Mock::given(path("/api/v3/user/installations"))
        .respond_with(ResponseTemplate::new(200).set_body_json(listed))
        .mount(&server)
        .await;
    mount_user(&server, &[5]).await;
    mount_membership(&server, 200, "admin", "active").await;
    mount_installation(&server, 5, false).await;
    let outcome = outcome(&github, callback(&[("code", "c0de")], Some(unnamed()))).await;
    assert!(
        matches!(outcome, CallbackOutcome::Connected(_)),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn only_active_admin_connects_organization() {
    for (status, role, state) in [
        (200, "member", "active"),
        (200, "admin", "pending"),
        (200, "billing_manager", "active"),
        (403, "admin", "active"),
        (404, "admin", "active"),
    ] {
        let (server, github, _) = github().await;
        mount_user(&server, &[5]).await;
        mount_membership(&server, status, role, state).await;
        mount_installation(&server, 5, false).await;
        let outcome = outcome(&github, callback(&[("code", "c0de")], Some(unnamed()))).await;
        let CallbackOutcome::AwaitingApproval { requester, account } = outcome else {
            panic!("{status} {role} {state}: {outcome:?}")
        };
        assert_eq!(requester, "480938");
        assert_eq!(account.expect("the organization").name, "octo-org");
    }
}

#[tokio::test]
async fn admin_of_same_named_organization_does_not_connect() {
    let (server, github, _) = github().await;
    mount_user(&server, &[5]).await;
    Mock::given(path("/api/v3/user"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({ "id": 1 })))
        .mount(&server)
        .await;
    Mock::given(path("/api/v3/user/memberships/orgs/octo-org"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({
            "role": "admin", "state": "active", "organization": { "id": 7, "login": "octo-org" },
        })))
        .mount(&server)
        .await;
    mount_installation(&server, 5, false).await;
    let outcome = outcome(&github, callback(&[("code", "c0de")], Some(unnamed()))).await;
    assert!(
        matches!(outcome, CallbackOutcome::AwaitingApproval { .. }),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn membership_outage_is_transient() {
    let (server, github, _) = github().await;
    mount_user(&server, &[5]).await;
    mount_membership(&server, 502, "admin", "active").await;
    mount_installation(&server, 5, false).await;
    let result = github
        .exchange_token(callback(&[("code", "c0de")], Some(unnamed())))
        .await;
    assert!(
        matches!(result, Err(ConnectorError::Transient(_))),
        "{result:?}"
    );
}

#[tokio::test]
async fn personal_account_connects_for_owner_only() {
    for (id, connects) in [(480_938, true), (480_939, false)] {
        let (server, github, _) = github().await;
        mount_user(&server, &[5]).await;
        mount_membership(&server, 404, "admin", "active").await;
        Mock::given(path("/api/v3/app/installations/5"))
            .respond_with(ResponseTemplate::new(200).set_body_json(json!({
                "id": 5, "account": { "id": id, "login": "hubot", "type": "User" },
            })))
            .mount(&server)
            .await;
        let outcome = outcome(&github, callback(&[("code", "c0de")], Some(unnamed()))).await;
        assert_eq!(
            matches!(outcome, CallbackOutcome::Connected(_)),
            connects,
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn unrequested_code_is_discarded() {
    for (query, context) in [
        (
            vec![
                ("code", "c0de"),
                ("installation_id", "5"),
                ("setup_action", "install"),
            ],
            None,
        ),
        (vec![("code", "c0de"), ("setup_action", "request")], None),
        (vec![("code", "c0de")], None),
        (
            vec![("code", "c0de"), ("installation_id", "5")],
            Some(unnamed()),
        ),
    ] {
        let (server, github, _) = github().await;
        let outcome = outcome(&github, callback(&query, context)).await;
        let CallbackOutcome::NextStep { context } = outcome else {
            panic!("{query:?}: {outcome:?}")
        };
        let next = github
            .authorize(&authorize_request(Some(context)))
            .expect("a URL");
        assert_eq!(next.path(), "/login/oauth/authorize");
        let requests = server.received_requests().await.expect("requests");
        assert!(requests.is_empty(), "the code is not used");
    }
}

#[tokio::test]
async fn inaccessible_installation_is_denied() {
    let (server, github, _) = github().await;
    mount_user(&server, &[1, 2]).await;
    let context = Some(json!({ "setup": "installed", "installation_id": "666" }));
    assert_denied(&outcome(&github, callback(&[("code", "c0de")], context)).await);
    let requests = server.received_requests().await.expect("requests");
    assert!(
        !requests
            .iter()
            .any(|call| call.url.path().contains("/app/installations/"))
    );
}

#[tokio::test]
async fn code_without_installation_connects_only_installation() {
    for (installations, connects) in [(vec![5], true), (vec![], false), (vec![5, 6], false)] {
        let (server, github, _) = github().await;
        mount_user(&server, &installations).await;
        mount_membership(&server, 200, "admin", "active").await;
        mount_installation(&server, 5, false).await;
        let outcome = outcome(&github, callback(&[("code", "c0de")], Some(unnamed()))).await;
        assert_eq!(
            matches!(outcome, CallbackOutcome::Connected(_)),
            connects,
            "{outcome:?}"
        );
        if !connects {
            assert_denied(&outcome);
        }
    }
}

#[tokio::test]
async fn suspended_installation_does_not_connect() {
    let (server, github, _) = github().await;
    mount_user(&server, &[5]).await;
    mount_installation(&server, 5, true).await;
    assert_denied(&outcome(&github, callback(&[("code", "c0de")], Some(unnamed()))).await);
}

#[tokio::test]
async fn requested_installation_awaits_approval() {
    let (server, github, _) = github().await;
    let back = callback(&[("setup_action", "request")], None);
    let CallbackOutcome::NextStep { context } = outcome(&github, back).await else {
        panic!("a second step");
    };
    mount_user(&server, &[]).await;
    Mock::given(method("GET"))
        .and(path("/api/v3/user"))
        .respond_with(
            ResponseTemplate::new(200).set_body_json(json!({ "id": 480_938, "login": "hubot" })),
        )
        .mount(&server)
        .await;
    let outcome = outcome(&github, callback(&[("code", "c0de")], Some(context))).await;
    let CallbackOutcome::AwaitingApproval { requester, account } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!((requester.as_str(), account), ("480938", None));
}

#[test]
fn install_page_url_depends_on_host() {
    for (api, page) in [
        ("https://api.github.com", "/apps/poblysh/installations/new"),
        (
            "https://api.octo.ghe.com",
            "/apps/poblysh/installations/new",
        ),
        (
            "https://github.example/api/v3/",
            "/github-apps/poblysh/installations/new",
        ),
    ] {
        let (github, _) = connector("https://github.example", api);
        assert_eq!(
            github
                .authorize(&authorize_request(None))
                .expect("a URL")
                .path(),
            page,
            "{api}"
        );
    }
}
