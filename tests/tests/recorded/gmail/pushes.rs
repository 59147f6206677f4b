//! Recorded and documented pushes, with a token of these tests.

use std::time::Duration;

use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use shared::clock::{Clock, SystemClock};
use shared::connectors::{Directory, SyncHint, VerifyError};
use shared::model::ExternalAccount;

use super::{AUDIENCE, SERVICE_ACCOUNT, gmail};
use crate::folder::Folder;
use crate::provider::{handle, headers, try_verify};
use crate::report::Tally;
use crate::server::{RecordedResponse, serve};

const TEST_KEY: &str =
    include_str!("../../../../shared/src/connectors/github/fixtures/test-app.pem");
const KEY_ID: &str = "key-1";

/// The key set with the public half of the test key.
fn key_set() -> Value {
    let lines = TEST_KEY.lines().filter(|line| !line.starts_with('-'));
    let der = STANDARD.decode(lines.collect::<String>()).expect("base64");
    let key = KeyPair::from_der(&der).expect("a private key");
    let public = key.public_key();
    let (modulus, exponent) = (public.modulus(), public.exponent());
    json!({ "keys": [{
        "kty": "RSA", "use": "sig", "alg": "RS256", "kid": KEY_ID,
        "n": URL_SAFE_NO_PAD.encode(modulus.big_endian_without_leading_zero()),
        "e": URL_SAFE_NO_PAD.encode(exponent.big_endian_without_leading_zero()),
    }] })
}

fn bearer(now: i64) -> String {
    let claims = json!({
        "iss": "https://accounts.google.com", "aud": AUDIENCE, "email": SERVICE_ACCOUNT,
        "email_verified": true, "iat": now, "exp": now + 3600,
    });
    let mut header = Header::new(Algorithm::RS256);
    header.kid = Some(KEY_ID.to_owned());
    let key = EncodingKey::from_rsa_pem(TEST_KEY.as_bytes()).expect("a private key");
    let token = jsonwebtoken::encode(&header, &claims, &key);
    format!("Bearer {}", token.expect("a token"))
}

/// The address that a push names, in lower case.
fn expected_route(body: &Value) -> Option<String> {
    let data = STANDARD.decode(body["message"]["data"].as_str()?).ok()?;
    let notification: Value = serde_json::from_slice(&data).ok()?;
    Some(notification["emailAddress"].as_str()?.to_lowercase())
}

#[tokio::test]
async fn recorded_pushes_are_routed_by_address() {
    let Some(folder) = Folder::open() else { return };
    let server = serve(|_| RecordedResponse::of(&key_set())).await;
    let now = SystemClock.now();
    let connector = gmail(&server.url, now);
    let bearer = bearer(now.timestamp());
    let headers = headers([("authorization", bearer.as_str())]);
    let mut tally = Tally::default();
    for file in folder.files("google", "webhook") {
        if file.event != "pubsub-push" {
            continue;
        }
        let content = file.json();
        let push = if content["body"].is_object() {
            &content["body"]
        } else {
            &content
        };
        let body = Bytes::from(push.to_string());
        let receipt = loop {
            match try_verify(&*connector, &headers, &body, None) {
                Err(VerifyError::KeysUnavailable) => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                verified => break verified.expect("a genuine push"),
            }
        };
        let expected: Vec<String> = expected_route(push).into_iter().collect();
        if receipt.routes != expected {
            tally.fail(format!("{}: {:?}", file.name, receipt.routes));
        }
        if let Some(id) = push["message"]["messageId"].as_str() {
            assert_eq!(receipt.dedupe_id, id, "{}", file.name);
        }
        assert_eq!(receipt.stored_body, Some(Bytes::new()));
        let account = ExternalAccount::from_route("ada@example.com");
        let outcome = handle(
            &*connector,
            &headers,
            &Bytes::new(),
            &account,
            &Directory::default(),
        );
        assert_eq!(outcome.sync_hint, Some(SyncHint::stream("messages")));
        let result = if expected.is_empty() {
            "no mailbox"
        } else {
            "a mailbox"
        };
        tally.count("push", result);
    }
    tally.finish("recorded pushes");
}
