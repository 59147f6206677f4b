//! Tests of consent, tokens and revocation.

use super::*;
use crate::oauth::s256;

#[tokio::test]
async fn wrong_consent_request_shows_a_page() {
    let fixture = fixture(StatusCode::OK).await;
    for wrong in [
        ("client_id", "other"),
        ("redirect_uri", "http://127.0.0.1:8080/other"),
        ("response_type", "token"),
        ("scope", "unknown"),
    ] {
        let page = fixture.authorize(0, SCOPE, &[wrong]).await;
        assert_eq!(page.status(), StatusCode::BAD_REQUEST, "{wrong:?}");
        assert!(page.headers().get("location").is_none());
    }
}

#[tokio::test]
async fn code_is_valid_once_with_its_verifier() {
    let fixture = fixture(StatusCode::OK).await;
    let verifier = "v".repeat(50);
    let challenge = s256(&verifier);
    let pkce = [
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
    ];
    let page = fixture.authorize(0, SCOPE, &pkce).await;
    assert_eq!(query(&page, "state").as_deref(), Some("s"));
    assert_eq!(query(&page, "prompt").as_deref(), Some("consent"));
    let code = query(&page, "code").expect("a code");
    let without = fixture.exchange(&code).await;
    assert_eq!(json_of(without).await["error"], "invalid_grant");

    let page = fixture.authorize(0, SCOPE, &pkce).await;
    let code = query(&page, "code").expect("a code");
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", CALLBACK),
        ("code_verifier", verifier.as_str()),
    ];
    let tokens = json_of(fixture.token(&fields).await).await;
    assert_eq!(tokens["expires_in"], 3_599);
    let scopes: Vec<&str> = tokens["scope"]
        .as_str()
        .expect("scopes")
        .split(' ')
        .collect();
    assert!(scopes.contains(&"https://www.googleapis.com/auth/userinfo.email"));
    assert!(tokens["id_token"].is_string());
    let again = fixture.token(&fields).await;
    assert_eq!(again.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn refresh_token_comes_with_a_shown_consent_only() {
    let fixture = fixture(StatusCode::OK).await;
    let first = fixture.authorize(0, SCOPE, &[]).await;
    let code = query(&first, "code").expect("a code");
    let tokens = json_of(fixture.exchange(&code).await).await;
    let refresh = text(&tokens, "refresh_token");
    assert!(refresh.starts_with("1//0"));
    let second = fixture.authorize(0, SCOPE, &[]).await;
    assert_eq!(query(&second, "prompt").as_deref(), Some("none"));
    let code = query(&second, "code").expect("a code");
    let tokens = json_of(fixture.exchange(&code).await).await;
    assert!(tokens["refresh_token"].is_null());
    let refreshed = json_of(fixture.refresh(&refresh).await).await;
    assert!(refreshed["access_token"].is_string());
    assert!(refreshed["refresh_token"].is_null());
}

#[tokio::test]
async fn unticked_scope_is_rejected_at_use() {
    let fixture = fixture(StatusCode::OK).await;
    let withheld = json!({ "withheld_scopes": [METADATA] });
    fixture.control("google/settings", withheld).await;
    let tokens = fixture.connect(0, SCOPE).await;
    assert!(!text(&tokens, "scope").contains(METADATA));
    let refused = fixture.get(&tokens, "/drive/v3/about?fields=user").await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let error = json_of(refused).await;
    let reason = &error["error"]["details"][0]["reason"];
    assert_eq!(reason, "ACCESS_TOKEN_SCOPE_INSUFFICIENT");
    fixture
        .control("google/settings", json!({ "withheld_scopes": [] }))
        .await;
    let page = fixture
        .authorize(0, METADATA, &[("include_granted_scopes", "true")])
        .await;
    let scopes = query(&page, "scope").expect("scopes");
    assert!(scopes.contains("userinfo.email"), "{scopes}");
}

#[tokio::test]
async fn revocation_ends_all_tokens_of_the_person() {
    let fixture = fixture(StatusCode::OK).await;
    let first = fixture.connect(0, SCOPE).await;
    let second = fixture.connect(0, SCOPE).await;
    let other = fixture.connect(1, SCOPE).await;
    let path = format!("/revoke?token={}", text(&first, "refresh_token"));
    let revoke = || fixture.client.post(fixture.url(&path)).send();
    let revoked = revoke().await.expect("a response");
    assert_eq!(json_of(revoked).await, json!({}));
    let about = "/drive/v3/about?fields=user";
    let refused = fixture.get(&second, about).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let error = json_of(refused).await;
    assert_eq!(error["error"]["errors"][0]["reason"], "authError");
    let dead = fixture.refresh(&text(&second, "refresh_token")).await;
    assert_eq!(json_of(dead).await["error"], "invalid_grant");
    let again = json_of(revoke().await.expect("a response")).await;
    assert_eq!(again["error"], "invalid_token");
    fixture.get_json(&other, about).await;
}

#[tokio::test]
async fn refresh_token_ends_by_number_time_and_password() {
    let fixture = fixture(StatusCode::OK).await;
    let settings = json!({ "max_refresh_tokens": 2 });
    fixture.control("google/settings", settings).await;
    let gmail = "https://www.googleapis.com/auth/gmail.readonly";
    let mut tokens = Vec::new();
    for scope in [SCOPE, SCOPE, gmail] {
        tokens.push(text(&fixture.connect(0, scope).await, "refresh_token"));
    }
    let status = async |token: &str| fixture.refresh(token).await.status();
    assert_eq!(status(&tokens[0]).await, StatusCode::BAD_REQUEST);
    assert_eq!(status(&tokens[1]).await, StatusCode::OK);
    let person = json!({ "change_password": fixture.people[0].1 });
    fixture.control("google/tokens", person).await;
    assert_eq!(status(&tokens[2]).await, StatusCode::BAD_REQUEST);
    assert_eq!(status(&tokens[1]).await, StatusCode::OK);
    let half_a_year = json!({ "advance_seconds": 182 * 24 * 3_600 });
    fixture.control("clock", half_a_year).await;
    assert_eq!(status(&tokens[1]).await, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn token_endpoint_names_the_wrong_part() {
    let fixture = fixture(StatusCode::OK).await;
    let request = fixture.client.post(fixture.url("/token"));
    let form = request.header("content-type", "application/x-www-form-urlencoded");
    let wrong = form.body("grant_type=refresh_token&client_id=a&client_secret=b");
    let response = wrong.send().await.expect("a response");
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(json_of(response).await["error"], "invalid_client");
    let as_json = fixture.client.post(fixture.url("/token")).json(&json!({}));
    let response = as_json.send().await.expect("a response");
    assert_eq!(json_of(response).await["error"], "invalid_request");
    let broken = json!({ "token_error": "server_error" });
    fixture.control("google/settings", broken).await;
    let response = fixture.refresh("any").await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(json_of(response).await["error"], "server_error");
}

#[tokio::test]
async fn userinfo_has_the_shape_of_its_path() {
    let fixture = fixture(StatusCode::OK).await;
    let tokens = fixture.connect(0, SCOPE).await;
    let (sub, address) = &fixture.people[0];
    let openid = fixture.get_json(&tokens, "/v1/userinfo").await;
    assert_eq!(
        (&openid["sub"], &openid["email_verified"]),
        (&json!(sub), &json!(true))
    );
    let older = fixture.get_json(&tokens, "/oauth2/v2/userinfo").await;
    assert_eq!(
        (&older["id"], &older["email"]),
        (&json!(sub), &json!(address))
    );
    assert!(older.get("sub").is_none());
}
