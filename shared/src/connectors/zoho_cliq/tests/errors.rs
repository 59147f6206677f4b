//! The errors of Cliq's API, by status and code.

use serde_json::{Value, json};
use wiremock::matchers::any;
use wiremock::{Mock, ResponseTemplate};

use super::{cliq, request};
use crate::connectors::Connector;

#[tokio::test]
async fn codes_map_to_errors_in_every_envelope() {
    for (status, body, expected) in [
        (
            400,
            json!({ "code": "request_limit_exceeded" }),
            "rate_limited",
        ),
        (
            429,
            json!({ "error": { "code": "rate_limit_exceeded" } }),
            "rate_limited",
        ),
        (
            429,
            json!({ "message": "Too many requests." }),
            "rate_limited",
        ),
        (401, json!({ "code": "oauthtoken_invalid" }), "unauthorized"),
        (
            401,
            json!({ "code": "oauthtoken_scope_invalid" }),
            "permission",
        ),
        (403, json!({ "code": "chat_access_denied" }), "permission"),
        (404, json!({ "code": "chat_not_found" }), "permission"),
        (400, json!({ "code": "request_url_invalid" }), "permission"),
        (500, json!({ "message": "An internal error." }), "transient"),
    ] {
        let (server, cliq) = cliq().await;
        Mock::given(any())
            .respond_with(ResponseTemplate::new(status).set_body_json(&body))
            .mount(&server)
            .await;
        for stream in ["chats", "channels", "chat:CT_1", "threads:T1"] {
            let result = cliq.sync(request(stream, Value::Null, None)).await;
            // Without the scope of channels, the root continues with the chats.
            if stream == "chats" && body["code"] == "oauthtoken_scope_invalid" {
                assert!(result.expect("a page").has_more);
                continue;
            }
            let code = result.expect_err("an error").code();
            assert_eq!(code, expected, "{stream}: {status} {body}");
        }
    }
}

#[tokio::test]
async fn page_without_a_token_is_unauthorized() {
    let (server, cliq) = cliq().await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(401).set_body_raw("<html></html>", "text/html"))
        .mount(&server)
        .await;
    let error = cliq.sync(request("chats", Value::Null, None)).await;
    assert_eq!(error.expect_err("an error").code(), "unauthorized");
}
