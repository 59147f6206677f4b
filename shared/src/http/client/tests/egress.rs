//! Tests of the egress guard and of redirects.

use super::*;

#[tokio::test]
async fn forbidden_origin_is_not_called() {
    let (allowed, forbidden) = (MockServer::start().await, MockServer::start().await);
    let (builder, rate_limiter) = builder(&[&allowed]);
    let client = builder.build().expect("a client");
    let error = get(&client, url(&forbidden, "/a?token=s3cret"))
        .await
        .expect_err("rejected");
    assert!(matches!(error, HttpError::Egress { .. }), "{error:?}");
    assert!(!error_chain(&error).contains("s3cret"));
    assert!(!error.is_transient());
    assert!(matches!(
        ConnectorError::from(error),
        ConnectorError::Permanent(_)
    ));

    let mut https = url(&allowed, "/");
    https.set_scheme("https").expect("a scheme");
    let error = get(&client, https)
        .await
        .expect_err("another scheme is another origin");
    assert!(matches!(error, HttpError::Egress { .. }));

    assert_eq!(
        rate_limiter.0.load(Ordering::Relaxed),
        0,
        "a blocked call costs no permit"
    );
    assert!(
        forbidden
            .received_requests()
            .await
            .expect("recorded")
            .is_empty()
    );
}

#[tokio::test]
async fn redirect_to_a_forbidden_origin_is_not_followed() {
    let (allowed, forbidden) = (MockServer::start().await, MockServer::start().await);
    respond_at(
        &allowed,
        "/a",
        redirect(&format!("{}/stolen?code=s3cret", forbidden.uri())),
    )
    .await;
    let error = get(&client(&[&allowed]), url(&allowed, "/a"))
        .await
        .expect_err("rejected");
    assert!(
        matches!(&error, HttpError::Egress { url } if url.ends_with("/stolen")),
        "{error:?}"
    );
    assert!(
        forbidden
            .received_requests()
            .await
            .expect("recorded")
            .is_empty()
    );
}

#[tokio::test]
async fn redirect_with_credentials_is_not_followed() {
    let server = MockServer::start().await;
    let target = server.uri().replace("http://", "http://user:s3cret@");
    respond_at(&server, "/a", redirect(&format!("{target}/b"))).await;
    let error = get(&client(&[&server]), url(&server, "/a"))
        .await
        .expect_err("rejected");
    assert!(matches!(error, HttpError::Egress { .. }), "{error:?}");
    assert!(!error_chain(&error).contains("s3cret"));
    assert_eq!(server.received_requests().await.expect("recorded").len(), 1);
}

#[tokio::test]
async fn redirect_within_the_origin_keeps_the_credential() {
    let server = MockServer::start().await;
    respond_at(&server, "/old", redirect("/new?page=2")).await;
    Mock::given(path("/new"))
        .and(header("authorization", "Bearer s3cret-token"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&server)
        .await;
    let response = get(&client(&[&server]), url(&server, "/old"))
        .await
        .expect("a response");
    assert_eq!(response.status, StatusCode::OK);
    assert_eq!(response.url, url(&server, "/new?page=2"));
}

#[tokio::test]
async fn redirect_to_another_origin_loses_the_credential() {
    let (one, two) = (MockServer::start().await, MockServer::start().await);
    respond_at(&one, "/a", redirect(&format!("{}/b", two.uri()))).await;
    respond_at(&two, "/b", ResponseTemplate::new(200)).await;
    get(&client(&[&one, &two]), url(&one, "/a"))
        .await
        .expect("a response");
    let received = two.received_requests().await.expect("recorded");
    assert_eq!(received.len(), 1);
    assert!(!received[0].headers.contains_key("authorization"));
    assert!(!received[0].headers.contains_key("referer"));
}

#[tokio::test]
async fn post_does_not_follow_redirects() {
    let server = MockServer::start().await;
    for status in [301, 302, 303, 307, 308] {
        let template = ResponseTemplate::new(status).insert_header("location", "/elsewhere");
        respond_at(&server, &format!("/{status}"), template).await;
        let client = client(&[&server]);
        let request = client
            .request(Method::POST, url(&server, &format!("/{status}")))
            .body("x");
        let response = client
            .send(&Charge::new("account", "post"), request)
            .await
            .expect("a response");
        assert_eq!(response.status, status);
    }
}

#[tokio::test]
async fn rate_limiter_admits_each_hop_of_a_loop() {
    let server = MockServer::start().await;
    respond_at(&server, "/a", redirect("/a")).await;
    let (builder, rate_limiter) = builder(&[&server]);
    let error = get(&builder.build().expect("a client"), url(&server, "/a"))
        .await
        .expect_err("a loop");
    assert!(matches!(error, HttpError::Request(_)), "{error:?}");
    assert_eq!(rate_limiter.0.load(Ordering::Relaxed), MAX_REDIRECTS + 1);
}
