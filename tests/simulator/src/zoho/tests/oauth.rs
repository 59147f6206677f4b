//! Tests of consent, tokens, revocation and identity.

use super::*;

#[tokio::test]
async fn wrong_consent_request_shows_a_page() {
    let fixture = fixture().await;
    for wrong in [
        ("client_id", "other"),
        ("redirect_uri", "http://127.0.0.1:8080/other"),
        ("response_type", "token"),
        ("scope", "ZohoMail.messages"),
    ] {
        let page = fixture.authorize(0, &[wrong]).await;
        assert_eq!(page.status(), StatusCode::BAD_REQUEST, "{wrong:?}");
        assert!(page.headers().get("location").is_none());
    }
}

#[tokio::test]
async fn redirect_names_the_data_center_of_the_account() {
    let fixture = fixture().await;
    for (admin, location) in ["us", "eu", "in"].into_iter().enumerate() {
        let page = fixture.authorize(admin, &[]).await;
        assert_eq!(query(&page, "location").as_deref(), Some(location));
        let server = query(&page, "accounts-server").expect("a server");
        assert_eq!(server, fixture.url(location, ""));
        assert_eq!(query(&page, "state").as_deref(), Some("s"));
        let raw = page.headers()["location"].to_str().expect("a URL");
        assert!(raw.contains("accounts-server=http%3A%2F%2F"), "{raw}");
        let code = query(&page, "code").expect("a code");
        let elsewhere = if location == "us" { "in" } else { "us" };
        let refused = fixture.exchange(elsewhere, &code).await;
        assert_eq!(refused, json!({ "error": "invalid_code" }));
        let tokens = fixture.exchange(location, &code).await;
        assert_eq!(text(&tokens, "api_domain"), server);
    }
}

#[tokio::test]
async fn settings_change_the_redirect() {
    let fixture = fixture().await;
    let settings = json!({
        "trailing_ampersand": true, "accounts_server": "https://accounts.example",
        "location": "ca",
    });
    fixture.control("zoho/settings", settings).await;
    let page = fixture.authorize(0, &[]).await;
    let raw = page.headers()["location"].to_str().expect("a URL");
    assert!(raw.ends_with('&'), "{raw}");
    let server = query(&page, "accounts-server");
    assert_eq!(server.as_deref(), Some("https://accounts.example"));
    assert_eq!(query(&page, "location").as_deref(), Some("ca"));
    let deny = json!({ "deny_authorizations": true });
    fixture.control("zoho/settings", deny).await;
    let page = fixture.authorize(0, &[]).await;
    assert_eq!(query(&page, "error").as_deref(), Some("access_denied"));
    let single = json!({ "deny_authorizations": false, "multi_dc": false });
    fixture.control("zoho/settings", single).await;
    let page = fixture.authorize(1, &[]).await;
    assert_eq!(page.status(), StatusCode::BAD_REQUEST);
    assert_eq!(fixture.authorize(0, &[]).await.status(), StatusCode::FOUND);
}

#[tokio::test]
async fn code_is_valid_once_and_for_two_minutes() {
    let fixture = fixture().await;
    let code = fixture.code(0).await;
    let tokens = fixture.exchange("us", &code).await;
    assert_eq!(tokens["expires_in"], 3_600);
    assert_eq!(text(&tokens, "scope").split(' ').count(), 3);
    let again = fixture.exchange("us", &code).await;
    assert_eq!(again["error"], "invalid_code");
    let late = fixture.code(0).await;
    fixture.advance(120).await;
    let late = fixture.exchange("us", &late).await;
    assert_eq!(late["error"], "invalid_code");
    let code = fixture.code(0).await;
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", "http://127.0.0.1:8080/other"),
    ];
    let other = json_of(fixture.token("us", &fields).await).await;
    assert_eq!(other["error"], "invalid_redirect_uri");
}

#[tokio::test]
async fn refresh_token_needs_offline_access_and_consent() {
    let fixture = fixture().await;
    let tokens = async |extra: &[(&str, &str)]| {
        let page = fixture.authorize(0, extra).await;
        let code = query(&page, "code").expect("a code");
        fixture.exchange("us", &code).await
    };
    let online = tokens(&[("access_type", "online")]).await;
    assert!(online["access_token"].is_string() && online["refresh_token"].is_null());
    let again = tokens(&[]).await;
    assert!(again["refresh_token"].is_null(), "consented before");
    let shown = tokens(&[("prompt", "consent")]).await;
    let refresh = text(&shown, "refresh_token");
    let refreshed = fixture.refresh("us", &refresh).await;
    assert!(refreshed["access_token"].is_string());
    assert!(refreshed["refresh_token"].is_null());
    assert_eq!(text(&refreshed, "api_domain"), fixture.url("us", ""));
}

#[tokio::test]
async fn token_endpoint_names_the_wrong_part() {
    let fixture = fixture().await;
    let refresh = text(&fixture.connect(1).await, "refresh_token");
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh.as_str()),
    ];
    for (wrong, error) in [
        (("client_id", "other"), "invalid_client"),
        (
            ("client_secret", fixture.env("CLIENT_SECRET").as_str()),
            "invalid_client_secret",
        ),
        (("grant_type", "password"), "unsupported_grant_type"),
    ] {
        let mut form: Vec<_> = fields.to_vec();
        form.retain(|(name, _)| *name != wrong.0);
        form.push(wrong);
        let response = fixture.token("eu", &form).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(json_of(response).await["error"], error, "{wrong:?}");
    }
    let elsewhere = fixture.refresh("in", &refresh).await;
    assert_eq!(elsewhere["error"], "invalid_code");
    let settings = json!({ "token_error": "Access Denied", "error_status": 400 });
    fixture.control("zoho/settings", settings).await;
    let response = fixture.token("eu", &fields).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(json_of(response).await["status"], "failure");
}

#[tokio::test]
async fn eleventh_refresh_in_ten_minutes_is_rejected() {
    let fixture = fixture().await;
    let refresh = text(&fixture.connect(0).await, "refresh_token");
    for _ in 0..10 {
        let tokens = fixture.refresh("us", &refresh).await;
        assert!(tokens["access_token"].is_string());
        fixture.advance(30).await;
    }
    for _ in 0..2 {
        let refused = fixture.refresh("us", &refresh).await;
        assert_eq!(refused["error"], "Access Denied");
        assert_eq!(refused["status"], "failure");
        fixture.advance(60).await;
    }
    fixture.advance(180).await;
    let tokens = fixture.refresh("us", &refresh).await;
    assert!(tokens["access_token"].is_string());
}

#[tokio::test]
async fn sixth_refresh_token_in_a_minute_is_rejected() {
    let fixture = fixture().await;
    for _ in 0..5 {
        assert!(fixture.connect(0).await["refresh_token"].is_string());
    }
    assert_eq!(fixture.connect(0).await["error"], "Access Denied");
    assert!(fixture.connect(1).await["refresh_token"].is_string());
    fixture.advance(60).await;
    assert!(fixture.connect(0).await["refresh_token"].is_string());
}

#[tokio::test]
async fn twenty_first_refresh_token_ends_the_oldest() {
    let fixture = fixture().await;
    let mut tokens = Vec::new();
    for _ in 0..21 {
        tokens.push(text(&fixture.connect(0).await, "refresh_token"));
        fixture.advance(13).await;
    }
    let oldest = fixture.refresh("us", &tokens[0]).await;
    assert_eq!(oldest["error"], "invalid_code");
    let next = fixture.refresh("us", &tokens[1]).await;
    assert!(next["access_token"].is_string());
}

#[tokio::test]
async fn sixteenth_access_token_ends_the_oldest() {
    let fixture = fixture().await;
    let limits = json!({ "access_tokens_per_window": null });
    fixture.control("zoho/settings", limits).await;
    let tokens = fixture.connect(0).await;
    let first = text(&tokens, "access_token");
    let refresh = text(&tokens, "refresh_token");
    for number in 0..15 {
        let status = fixture.user_info("us", &first).await.status();
        assert_eq!(status, StatusCode::OK, "{number}");
        fixture.refresh("us", &refresh).await;
    }
    let status = fixture.user_info("us", &first).await.status();
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn revocation_ends_one_grant_with_its_access_tokens() {
    let fixture = fixture().await;
    let (first, second) = (fixture.connect(0).await, fixture.connect(0).await);
    let refresh = text(&first, "refresh_token");
    let revoke = async |data_center: &str| {
        let path = format!("/oauth/v2/token/revoke?token={refresh}");
        let request = fixture.client.post(fixture.url(data_center, &path));
        json_of(request.send().await.expect("a response")).await
    };
    assert_eq!(revoke("in").await["error"], "invalid_code");
    assert_eq!(revoke("us").await, json!({ "status": "success" }));
    assert_eq!(revoke("us").await["error"], "invalid_code");
    let dead = fixture.refresh("us", &refresh).await;
    assert_eq!(dead["error"], "invalid_code");
    let status = async |tokens: &Value| {
        let token = text(tokens, "access_token");
        fixture.user_info("us", &token).await.status()
    };
    assert_eq!(status(&first).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&second).await, StatusCode::OK);
    let person = json!({ "revoke": fixture.admins[0].address });
    fixture.control("zoho/tokens", person).await;
    assert_eq!(status(&second).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn user_info_belongs_to_the_data_center() {
    let fixture = fixture().await;
    let token = text(&fixture.connect(1).await, "access_token");
    let admin = &fixture.admins[1];
    let info = json_of(fixture.user_info("eu", &token).await).await;
    assert_eq!(info["ZUID"].to_string(), admin.zuid);
    assert_eq!(info["Email"], admin.address.as_str());
    let elsewhere = fixture.user_info("us", &token).await;
    assert_eq!(elsewhere.status(), StatusCode::UNAUTHORIZED);
    let settings = json!({
        "zuid_as_string": true, "refused_scopes": ["AaaServer.profile.READ"],
    });
    fixture.control("zoho/settings", settings).await;
    let refused = fixture.user_info("eu", &token).await;
    assert_eq!(json_of(refused).await["error"], "INVALID_OAUTHSCOPE");
    let settings = json!({ "refused_scopes": [] });
    fixture.control("zoho/settings", settings).await;
    let info = json_of(fixture.user_info("eu", &token).await).await;
    assert_eq!(info["ZUID"], admin.zuid.as_str());
    let expire = json!({ "expire": admin.login });
    fixture.control("zoho/tokens", expire).await;
    let expired = fixture.user_info("eu", &token).await;
    assert_eq!(expired.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn responses_with_tokens_follow_the_settings() {
    let fixture = fixture().await;
    let settings = json!({ "expires_in_sec": true, "omit_api_domain": true, "omit_scope": true });
    fixture.control("zoho/settings", settings).await;
    let tokens = fixture.connect(0).await;
    assert_eq!(tokens["expires_in_sec"], 3_600);
    assert_eq!(tokens["expires_in"], 3_600_000);
    assert!(tokens["api_domain"].is_null() && tokens["scope"].is_null());
}

#[tokio::test]
async fn server_info_lists_all_accounts_servers() {
    let fixture = fixture().await;
    let get = async |data_center: &str| {
        let url = fixture.url(data_center, "/oauth/serverinfo");
        fixture.client.get(url).send().await.expect("a response")
    };
    let info = json_of(get("ca").await).await;
    let locations = info["locations"].as_object().expect("locations");
    assert_eq!(locations.len(), 9);
    assert_eq!(locations["ca"], fixture.url("ca", ""));
    assert_eq!(get("zz").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn faults_have_the_form_of_their_path() {
    let fixture = fixture().await;
    let refresh = text(&fixture.connect(0).await, "refresh_token");
    let fault = json!({
        "target": "request", "pattern": "POST */oauth/v2/token", "effect": "too_many_requests",
        "account": fixture.admins[0].login, "count": 1,
    });
    fixture.control("faults", fault).await;
    let refused = fixture.refresh("us", &refresh).await;
    assert_eq!(refused["error"], "Access Denied");
    let tokens = fixture.refresh("us", &refresh).await;
    let token = text(&tokens, "access_token");
    let fault = json!({
        "target": "request", "pattern": "GET */user/info", "effect": "unauthorized", "count": 1,
    });
    fixture.control("faults", fault).await;
    let refused = fixture.user_info("us", &token).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let info = fixture.user_info("us", &token).await;
    assert_eq!(info.status(), StatusCode::OK);
}
