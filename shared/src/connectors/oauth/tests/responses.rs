//! The responses of token endpoints to a refresh, and the tokens or errors that they are.

use super::{BASIC, FORM, Fixture, HTML, JSON, now};

/// Expected tokens: whether there is a refresh token, and the lifetime in seconds.
type Tokens = (bool, Option<i64>);

/// Status and body of a response, and the tokens or the error's code.
const RESPONSES: &[(u16, &str, Result<Tokens, &str>)] = &[
    (
        200,
        r#"{"access_token":"a","refresh_token":"next","expires_in":3600}"#,
        Ok((true, Some(3_600))),
    ),
    (
        200,
        r#"{"access_token":"a","expires_in":3599}"#,
        Ok((false, Some(3_599))),
    ),
    (
        200,
        r#"{"access_token":"a","refresh_token":null,"expires_in":"3600"}"#,
        Ok((false, Some(3_600))),
    ),
    (
        200,
        r#"{"access_token":"a","refresh_token":"","expires_in":3600}"#,
        Ok((false, Some(3_600))),
    ),
    (
        200,
        r#"{"access_token":"a","expires_in":60.0}"#,
        Ok((false, Some(60))),
    ),
    (200, r#"{"access_token":"a"}"#, Ok((false, None))),
    (
        200,
        r#"{"access_token":"a","expires_in":null}"#,
        Ok((false, None)),
    ),
    (
        200,
        r#"{"access_token":"a","expires_in":0}"#,
        Ok((false, None)),
    ),
    (
        200,
        r#"{"access_token":"a","expires_in":-60}"#,
        Ok((false, None)),
    ),
    (
        200,
        r#"{"access_token":"a","expires_in":1e300}"#,
        Ok((false, None)),
    ),
    (
        200,
        r#"{"access_token":"a","expires_in":"soon"}"#,
        Ok((false, None)),
    ),
    (
        200,
        r#"{"access_token":"a","expires_in":[60]}"#,
        Ok((false, None)),
    ),
    // A token counts more than an error beside it.
    (
        200,
        r#"{"access_token":"a","error":"deprecated"}"#,
        Ok((false, None)),
    ),
    (200, r#"{"refresh_token":"next"}"#, Err("permanent")),
    (200, r#"{"access_token":""}"#, Err("permanent")),
    (200, r#"{"access_token":7}"#, Err("permanent")),
    (200, "[]", Err("permanent")),
    (200, HTML, Err("transient")),
    (200, "", Err("transient")),
    (200, r#"{"access_token":"#, Err("transient")),
    (400, r#"{"error":"invalid_grant"}"#, Err("grant_revoked")),
    (401, r#"{"error":"invalid_grant"}"#, Err("grant_revoked")),
    (403, r#"{"error":"invalid_grant"}"#, Err("grant_revoked")),
    (200, r#"{"error":"invalid_grant"}"#, Err("grant_revoked")),
    (503, r#"{"error":"invalid_grant"}"#, Err("transient")),
    (429, r#"{"error":"invalid_grant"}"#, Err("rate_limited")),
    (401, r#"{"error":"invalid_client"}"#, Err("permanent")),
    (200, r#"{"error":"invalid_client"}"#, Err("permanent")),
    (503, r#"{"error":"invalid_client"}"#, Err("transient")),
    (400, r#"{"error":"invalid_scope"}"#, Err("permanent")),
    (200, r#"{"error":"invalid_scope"}"#, Err("permanent")),
    (200, r#"{"error":{"code":400}}"#, Err("permanent")),
    // Another server sent a response without an error code.
    (400, HTML, Err("transient")),
    (401, HTML, Err("transient")),
    (403, HTML, Err("transient")),
    (404, HTML, Err("transient")),
    (403, r#"{"message":"Forbidden"}"#, Err("transient")),
    (404, "", Err("transient")),
    (429, HTML, Err("rate_limited")),
    (502, HTML, Err("transient")),
];

#[tokio::test]
async fn refresh_maps_responses_alike_for_all_dialects() {
    for (status, body, expected) in RESPONSES {
        for dialect in [&FORM, &BASIC, &JSON] {
            let fixture = Fixture::with_response(dialect, *status, body).await;
            let found = fixture.refresh().await;
            let found = match &found {
                Ok(tokens) => Ok((
                    tokens.refresh_token.is_some(),
                    tokens.expires_at.map(|end| (end - now()).num_seconds()),
                )),
                Err(error) => Err(error.code()),
            };
            assert_eq!(found, *expected, "{status} {body}");
        }
    }
}
