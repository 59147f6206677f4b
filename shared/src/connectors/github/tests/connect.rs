//! Connecting and proving, against a server.

use serde_json::{Value, json};
use url::Url;
use wiremock::matchers::{body_string_contains, header, header_exists, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{connector, github};
use crate::connectors::github::GitHub;
use crate::connectors::{AuthorizeRequest, Callback, CallbackOutcome, Connector, ConnectorError};

const REDIRECT: &str = "https://poblysh.example/v1/connect/github/callback";

fn callback(query: &[(&str, &str)], carry: Option<Value>) -> Callback {
    Callback {
        query: query
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        code_verifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".into(),
        redirect_uri: Url::parse(REDIRECT).expect("a URL"),
        carry,
    }
}

fn authorize(carry: Option<Value>) -> AuthorizeRequest {
    AuthorizeRequest {
        state: "a state".to_owned(),
        redirect_uri: Url::parse(REDIRECT).expect("a URL"),
        code_challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".to_owned(),
        carry,
    }
}

async fn token_answers(server: &MockServer, answer: Value) {
    Mock::given(method("POST"))
        .and(path("/login/oauth/access_token"))
        .and(header("accept", "application/json"))
        .and(body_string_contains("code_verifier=dBjftJeZ4CVP"))
        .respond_with(ResponseTemplate::new(200).set_body_json(answer))
        .mount(server)
        .await;
}

/// A person with access to these installations, in pages of one.
async fn person(server: &MockServer, installations: &[u64]) {
    token_answers(
        server,
        json!({ "access_token": "ghu_person", "token_type": "bearer" }),
    )
    .await;
    for (at, id) in installations.iter().enumerate() {
        let page = json!({ "total_count": installations.len(), "installations": [{ "id": id }] });
        let mut answer = ResponseTemplate::new(200).set_body_json(page);
        if at + 1 < installations.len() {
            let next = format!("{}/api/v3/user/installations?page={}", server.uri(), at + 2);
            answer = answer.insert_header("link", format!("<{next}>; rel=\"next\"").as_str());
        }
        let mut mock = Mock::given(method("GET"))
            .and(path("/api/v3/user/installations"))
            .and(header("authorization", "Bearer ghu_person"));
        mock = if at == 0 {
            mock.and(query_param("per_page", "100"))
        } else {
            mock.and(query_param("page", (at + 1).to_string()))
        };
        mock.respond_with(answer).mount(server).await;
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

/// The person's id, and what GitHub says of their membership of the organization.
async fn membership(server: &MockServer, status: u16, role: &str, state: &str) {
    Mock::given(method("GET"))
        .and(path("/api/v3/user"))
        .respond_with(
            ResponseTemplate::new(200).set_body_json(json!({ "id": 480_938, "login": "hubot" })),
        )
        .mount(server)
        .await;
    Mock::given(method("GET"))
        .and(path("/api/v3/user/memberships/orgs/octo-org"))
        .and(header("authorization", "Bearer ghu_person"))
        .respond_with(ResponseTemplate::new(status).set_body_json(json!({
            "role": role, "state": state,
            "organization": { "id": 6_811_672, "login": "octo-org" },
        })))
        .mount(server)
        .await;
}

/// What the leg before leaves where GitHub named no installation.
fn unnamed() -> Value {
    json!({ "setup": "unnamed" })
}

async fn installation(server: &MockServer, id: u64, suspended: bool) {
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
async fn two_legs_lead_to_a_proved_grant() {
    let (server, github, _) = github().await;
    person(&server, &[1, 7_654_321]).await;
    membership(&server, 200, "admin", "active").await;
    installation(&server, 7_654_321, false).await;

    let first = github.authorize(&authorize(None)).expect("a URL");
    assert_eq!(first.path(), "/github-apps/poblysh/installations/new");
    assert_eq!(first.query(), Some("state=a+state"));

    let back = callback(
        &[("installation_id", "7654321"), ("setup_action", "install")],
        None,
    );
    let CallbackOutcome::Continue { carry } = outcome(&github, back).await else {
        panic!("a second leg");
    };
    let second = github
        .authorize(&authorize(Some(carry.clone())))
        .expect("a URL");
    assert_eq!(second.path(), "/login/oauth/authorize");
    let query: Vec<(String, String)> = second.query_pairs().into_owned().collect();
    for (name, value) in [
        ("client_id", "Iv1.client"),
        ("redirect_uri", REDIRECT),
        ("state", "a state"),
        (
            "code_challenge",
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        ),
        ("code_challenge_method", "S256"),
    ] {
        assert!(
            query.contains(&(name.to_owned(), value.to_owned())),
            "{name}"
        );
    }

    let back = callback(&[("code", "c0de")], Some(carry));
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
async fn unreadable_installation_hides_no_other() {
    let (server, github, _) = github().await;
    let listed = json!({ "total_count": 2, "installations": [{ "id": {} }, { "id": 5 }] });
    Mock::given(path("/api/v3/user/installations"))
        .respond_with(ResponseTemplate::new(200).set_body_json(listed))
        .mount(&server)
        .await;
    person(&server, &[5]).await;
    membership(&server, 200, "admin", "active").await;
    installation(&server, 5, false).await;
    let outcome = outcome(&github, callback(&[("code", "c0de")], Some(unnamed()))).await;
    assert!(
        matches!(outcome, CallbackOutcome::Connected(_)),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn only_an_active_admin_connects_an_organization() {
    for (status, role, state) in [
        (200, "member", "active"),
        (200, "admin", "pending"),
        (200, "billing_manager", "active"),
        (403, "admin", "active"),
        (404, "admin", "active"),
    ] {
        let (server, github, _) = github().await;
        person(&server, &[5]).await;
        membership(&server, status, role, state).await;
        installation(&server, 5, false).await;
        let outcome = outcome(&github, callback(&[("code", "c0de")], Some(unnamed()))).await;
        let CallbackOutcome::AwaitingApproval { requester, account } = outcome else {
            panic!("{status} {role} {state}: {outcome:?}")
        };
        assert_eq!(requester, "480938");
        assert_eq!(account.expect("the organization").name, "octo-org");
    }
}

#[tokio::test]
async fn admin_of_another_organization_of_that_name_proves_nothing() {
    let (server, github, _) = github().await;
    person(&server, &[5]).await;
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
    installation(&server, 5, false).await;
    let outcome = outcome(&github, callback(&[("code", "c0de")], Some(unnamed()))).await;
    assert!(
        matches!(outcome, CallbackOutcome::AwaitingApproval { .. }),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn outage_at_the_membership_is_an_error() {
    let (server, github, _) = github().await;
    person(&server, &[5]).await;
    membership(&server, 502, "admin", "active").await;
    installation(&server, 5, false).await;
    let ended = github
        .exchange_token(callback(&[("code", "c0de")], Some(unnamed())))
        .await;
    assert!(
        matches!(ended, Err(ConnectorError::Transient(_))),
        "{ended:?}"
    );
}

#[tokio::test]
async fn personal_account_is_connected_by_its_person() {
    for (id, connects) in [(480_938, true), (480_939, false)] {
        let (server, github, _) = github().await;
        person(&server, &[5]).await;
        membership(&server, 404, "admin", "active").await;
        Mock::given(path("/api/v3/app/installations/5"))
            .respond_with(ResponseTemplate::new(200).set_body_json(json!({
                "id": 5, "account": { "id": id, "login": "somebody", "type": "User" },
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
async fn code_that_nothing_asked_for_is_discarded() {
    for (query, carry) in [
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
        let outcome = outcome(&github, callback(&query, carry)).await;
        let CallbackOutcome::Continue { carry } = outcome else {
            panic!("{query:?}: {outcome:?}")
        };
        let next = github.authorize(&authorize(Some(carry))).expect("a URL");
        assert_eq!(next.path(), "/login/oauth/authorize");
        let asked = server.received_requests().await.expect("requests");
        assert!(asked.is_empty(), "the code is not used");
    }
}

#[tokio::test]
async fn an_installation_of_somebody_else_is_never_believed() {
    let (server, github, _) = github().await;
    person(&server, &[1, 2]).await;
    let carry = Some(json!({ "setup": "installed", "installation_id": "666" }));
    assert_denied(&outcome(&github, callback(&[("code", "c0de")], carry)).await);
    let asked = server.received_requests().await.expect("requests");
    assert!(
        !asked
            .iter()
            .any(|call| call.url.path().contains("/app/installations/"))
    );
}

#[tokio::test]
async fn a_code_alone_connects_the_only_installation() {
    for (theirs, connects) in [(vec![5], true), (vec![], false), (vec![5, 6], false)] {
        let (server, github, _) = github().await;
        person(&server, &theirs).await;
        membership(&server, 200, "admin", "active").await;
        installation(&server, 5, false).await;
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
async fn a_suspended_installation_does_not_connect() {
    let (server, github, _) = github().await;
    person(&server, &[5]).await;
    installation(&server, 5, true).await;
    assert_denied(&outcome(&github, callback(&[("code", "c0de")], Some(unnamed()))).await);
}

#[tokio::test]
async fn a_request_waits_for_whoever_may_approve_it() {
    let (server, github, _) = github().await;
    let back = callback(&[("setup_action", "request")], None);
    let CallbackOutcome::Continue { carry } = outcome(&github, back).await else {
        panic!("a second leg");
    };
    person(&server, &[]).await;
    Mock::given(method("GET"))
        .and(path("/api/v3/user"))
        .respond_with(
            ResponseTemplate::new(200).set_body_json(json!({ "id": 480_938, "login": "hubot" })),
        )
        .mount(&server)
        .await;
    let outcome = outcome(&github, callback(&[("code", "c0de")], Some(carry))).await;
    let CallbackOutcome::AwaitingApproval { requester, account } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!((requester.as_str(), account), ("480938", None));
}

#[tokio::test]
async fn a_redirect_that_says_no_or_nothing_is_denied() {
    let (_server, github, _) = github().await;
    for query in [
        vec![
            ("error", "access_denied"),
            ("error_description", "<script>"),
        ],
        vec![("error", "something_new")],
        vec![],
        vec![("code", "")],
        vec![("installation_id", "7; drop table")],
        vec![("installation_id", "")],
    ] {
        let outcome = outcome(&github, callback(&query, None)).await;
        let CallbackOutcome::Denied { reason } = &outcome else {
            panic!("{outcome:?}")
        };
        assert!(!reason.contains("script"), "{reason}");
    }
    let error = github
        .exchange_token(callback(&[("error", "redirect_uri_mismatch")], None))
        .await;
    assert!(
        matches!(error, Err(ConnectorError::Permanent(_))),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_error_with_status_200_is_an_error() {
    for (code, denied) in [
        ("bad_verification_code", true),
        ("unverified_user_email", true),
        ("incorrect_client_credentials", false),
        ("redirect_uri_mismatch", false),
        ("unsupported_grant_type", false),
    ] {
        let (server, github, _) = github().await;
        token_answers(&server, json!({ "error": code, "error_description": "…" })).await;
        match github
            .exchange_token(callback(&[("code", "c0de")], Some(unnamed())))
            .await
        {
            Ok(CallbackOutcome::Denied { .. }) => assert!(denied, "{code}"),
            Err(ConnectorError::Permanent(_)) => assert!(!denied, "{code}"),
            other => panic!("{code}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn an_unknown_client_and_an_outage_are_not_the_persons_fault() {
    for (status, permanent) in [(404, true), (401, true), (500, false), (503, false)] {
        let (server, github, _) = github().await;
        Mock::given(path("/login/oauth/access_token"))
            .respond_with(ResponseTemplate::new(status))
            .mount(&server)
            .await;
        match github
            .exchange_token(callback(&[("code", "c0de")], Some(unnamed())))
            .await
        {
            Err(ConnectorError::Permanent(_)) => assert!(permanent, "{status}"),
            Err(ConnectorError::Transient(_)) => assert!(!permanent, "{status}"),
            other => panic!("{status}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn the_second_client_secret_is_tried_when_the_first_is_refused() {
    let (server, github, _) = github().await;
    Mock::given(path("/login/oauth/access_token"))
        .and(body_string_contains("client_secret=the-new-client-secret"))
        .respond_with(
            ResponseTemplate::new(200)
                .set_body_json(json!({ "error": "incorrect_client_credentials" })),
        )
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(path("/login/oauth/access_token"))
        .and(body_string_contains("client_secret=the-old-client-secret"))
        .respond_with(
            ResponseTemplate::new(200).set_body_json(json!({ "access_token": "ghu_person" })),
        )
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(path("/api/v3/user/installations"))
        .respond_with(
            ResponseTemplate::new(200)
                .set_body_json(json!({ "total_count": 1, "installations": [{ "id": 5 }] })),
        )
        .mount(&server)
        .await;
    installation(&server, 5, false).await;
    membership(&server, 200, "admin", "active").await;
    let outcome = outcome(&github, callback(&[("code", "c0de")], Some(unnamed()))).await;
    assert!(
        matches!(outcome, CallbackOutcome::Connected(_)),
        "{outcome:?}"
    );
}

#[test]
fn the_install_page_is_where_github_has_it() {
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
            github.authorize(&authorize(None)).expect("a URL").path(),
            page,
            "{api}"
        );
    }
}
