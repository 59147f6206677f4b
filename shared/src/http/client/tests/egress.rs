//! Where calls may go, and what follows a redirect.

use super::*;

#[tokio::test]
async fn a_foreign_origin_is_not_called() {
    let (ours, foreign) = (MockServer::start().await, MockServer::start().await);
    let (builder, gate) = builder(&[&ours]);
    let client = builder.build().expect("a client");
    let error = get(&client, url(&foreign, "/a?token=s3cret"))
        .await
        .expect_err("refused");
    assert!(matches!(error, HttpError::Egress { .. }), "{error:?}");
    assert!(!chain(&error).contains("s3cret"));
    assert!(!error.is_transient());
    assert!(matches!(
        ConnectorError::from(error),
        ConnectorError::Permanent(_)
    ));

    let mut https = url(&ours, "/");
    https.set_scheme("https").expect("a scheme");
    let error = get(&client, https)
        .await
        .expect_err("another scheme is another origin");
    assert!(matches!(error, HttpError::Egress { .. }));

    assert_eq!(
        gate.0.load(Ordering::Relaxed),
        0,
        "the gate is for calls that may go out"
    );
    assert!(
        foreign
            .received_requests()
            .await
            .expect("recorded")
            .is_empty()
    );
}

#[tokio::test]
async fn a_redirect_to_a_foreign_origin_is_not_followed() {
    let (ours, foreign) = (MockServer::start().await, MockServer::start().await);
    answers(
        &ours,
        "/a",
        redirect(&format!("{}/stolen?code=s3cret", foreign.uri())),
    )
    .await;
    let error = get(&client(&[&ours]), url(&ours, "/a"))
        .await
        .expect_err("refused");
    assert!(
        matches!(&error, HttpError::Egress { url } if url.ends_with("/stolen")),
        "{error:?}"
    );
    assert!(
        foreign
            .received_requests()
            .await
            .expect("recorded")
            .is_empty()
    );
}

#[tokio::test]
async fn a_redirect_may_not_bring_credentials_of_its_own() {
    let server = MockServer::start().await;
    let target = server.uri().replace("http://", "http://user:s3cret@");
    answers(&server, "/a", redirect(&format!("{target}/b"))).await;
    let error = get(&client(&[&server]), url(&server, "/a"))
        .await
        .expect_err("refused");
    assert!(matches!(error, HttpError::Egress { .. }), "{error:?}");
    assert!(!chain(&error).contains("s3cret"));
    assert_eq!(server.received_requests().await.expect("recorded").len(), 1);
}

#[tokio::test]
async fn a_redirect_within_the_origin_keeps_the_credential() {
    let server = MockServer::start().await;
    answers(&server, "/old", redirect("/new?page=2")).await;
    Mock::given(path("/new"))
        .and(header("authorization", "Bearer s3cret-token"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&server)
        .await;
    let response = get(&client(&[&server]), url(&server, "/old"))
        .await
        .expect("an answer");
    assert_eq!(response.status, StatusCode::OK);
    assert_eq!(response.url, url(&server, "/new?page=2"));
}

#[tokio::test]
async fn a_redirect_to_another_allowed_origin_loses_the_credential() {
    let (one, two) = (MockServer::start().await, MockServer::start().await);
    answers(&one, "/a", redirect(&format!("{}/b", two.uri()))).await;
    answers(&two, "/b", ResponseTemplate::new(200)).await;
    get(&client(&[&one, &two]), url(&one, "/a"))
        .await
        .expect("an answer");
    let received = two.received_requests().await.expect("recorded");
    assert_eq!(received.len(), 1);
    assert!(!received[0].headers.contains_key("authorization"));
    assert!(!received[0].headers.contains_key("referer"));
}

#[tokio::test]
async fn a_request_that_changes_something_does_not_follow() {
    let server = MockServer::start().await;
    for status in [301, 302, 303, 307, 308] {
        let answer = ResponseTemplate::new(status).insert_header("location", "/elsewhere");
        answers(&server, &format!("/{status}"), answer).await;
        let client = client(&[&server]);
        let request = client
            .request(Method::POST, url(&server, &format!("/{status}")))
            .body("x");
        let response = client
            .send(&Charge::new("account", "post"), request)
            .await
            .expect("an answer");
        assert_eq!(response.status, status);
    }
}

#[tokio::test]
async fn each_hop_passes_the_gate_and_circles_end() {
    let server = MockServer::start().await;
    answers(&server, "/a", redirect("/a")).await;
    let (builder, gate) = builder(&[&server]);
    let error = get(&builder.build().expect("a client"), url(&server, "/a"))
        .await
        .expect_err("a circle");
    assert!(matches!(error, HttpError::Request(_)), "{error:?}");
    assert_eq!(gate.0.load(Ordering::Relaxed), MAX_REDIRECTS + 1);
}
