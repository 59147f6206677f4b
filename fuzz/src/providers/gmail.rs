//! Gmail: a token of Google's, which does not cover the body.

use std::convert::Infallible;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{
    KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaPublicKeyComponents,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use shared::connectors::{Connector, NoKeys, VerifyError, WebhookRequest};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::Provider;
use crate::message::Message;
use crate::provider::NOW;
use crate::webhook::{self, Scheme, set_header, single_header};

pub(super) const PROVIDER: Provider = Provider {
    slug: "gmail",
    // The settings of the family are those of Google Drive.
    settings: |_| {
        vec![
            ("GMAIL_TOPIC", "projects/p/topics/t".to_owned()),
            ("GMAIL_PUSH_ACCOUNT", SERVICE_ACCOUNT.to_owned()),
            ("GMAIL_PUSH_AUDIENCE", AUDIENCE.to_owned()),
            // Responses of the harness are sent in the order of the calls.
            ("GMAIL_CONCURRENCY", "1".to_owned()),
        ]
    },
    sign: Gmail::sign,
    check_delivery: |_, data| webhook::run::<Gmail>(&**CONNECTOR, data),
};

const AUTHORIZATION: &str = "authorization";
const AUDIENCE: &str = "https://hooks.example.com/webhooks/gmail";
const SERVICE_ACCOUNT: &str = "push@p.iam.gserviceaccount.com";
const ISSUER: &str = "https://accounts.google.com";
const KEY_ID: &str = "key-1";
const LEEWAY: i64 = 60;

/// The key with which Google signs.
static KEY: LazyLock<KeyPair> = LazyLock::new(|| {
    let pem = include_str!("../../../shared/src/connectors/github/fixtures/test-app.pem");
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = STANDARD.decode(base64).expect("base64");
    KeyPair::from_pkcs8(&der)
        .or_else(|_| KeyPair::from_der(&der))
        .expect("a private key")
});

/// A connector that has fetched the key.
static CONNECTOR: LazyLock<Arc<dyn Connector>> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    connector_with_key(&runtime)
});

fn key_set() -> String {
    let public = KEY.public_key();
    let (modulus, exponent) = (public.modulus(), public.exponent());
    json!({ "keys": [{
        "kty": "RSA", "use": "sig", "alg": "RS256", "kid": KEY_ID,
        "n": URL_SAFE_NO_PAD.encode(modulus.big_endian_without_leading_zero()),
        "e": URL_SAFE_NO_PAD.encode(exponent.big_endian_without_leading_zero()),
    }] })
    .to_string()
}

/// Builds a connector and waits until its first push is accepted.
fn connector_with_key(runtime: &Runtime) -> Arc<dyn Connector> {
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = service_fn(|_| async {
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(key_set()))))
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        let connector = super::connector("gmail", &base);
        let mut headers = HeaderMap::new();
        Gmail::sign(&Message::parse(b"\n{}"), &mut headers, 0);
        let (body, request) = (Bytes::from_static(b"{}"), &headers);
        loop {
            let request = WebhookRequest {
                headers: request,
                body: &body,
                connection: None,
            };
            match connector.verify_webhook(&request, &NoKeys).await {
                Ok(_) => break,
                Err(VerifyError::KeysUnavailable) => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(other) => panic!("the connector rejects a genuine push: {other}"),
            }
        }
        server.abort();
        connector
    })
}

fn sign(signed: &str) -> String {
    URL_SAFE_NO_PAD.encode(sign_bytes(signed.as_bytes()))
}

/// Signs bytes with the key, which other providers use as well.
pub(super) fn sign_bytes(signed: &[u8]) -> Vec<u8> {
    let mut signature = vec![0; KEY.public_modulus_len()];
    KEY.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        signed,
        &mut signature,
    )
    .expect("a signature");
    signature
}

/// Whether the key signed these bytes.
pub(super) fn is_signed(signed: &[u8], signature: &[u8]) -> bool {
    let public = KEY.public_key();
    let components = RsaPublicKeyComponents {
        n: public.modulus().big_endian_without_leading_zero().to_vec(),
        e: public.exponent().big_endian_without_leading_zero().to_vec(),
    };
    components
        .verify(&RSA_PKCS1_2048_8192_SHA256, signed, signature)
        .is_ok()
}

/// Header and claims of a token; `None` unless the key signed it.
fn verify_token(token: &str) -> Option<(Value, Value)> {
    let (signed, signature) = token.rsplit_once('.')?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    if !is_signed(signed.as_bytes(), &signature) {
        return None;
    }
    let (header, claims) = signed.split_once('.')?;
    let json = |part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
    Some((json(header)?, json(claims)?))
}

/// Whether the header and claims of a signed token are valid now.
fn is_valid(header: &Value, claims: &Value) -> bool {
    let time = |name: &str| {
        let seconds = claims[name].as_i64()?;
        chrono::DateTime::from_timestamp(seconds, 0).map(|_| seconds)
    };
    let has_begun = |name: &str| time(name).is_some_and(|at| at <= NOW + LEEWAY);
    header["alg"] == "RS256"
        && header["kid"] == KEY_ID
        && header.get("crit").is_none_or(Value::is_null)
        && claims["iss"] == ISSUER
        && claims["aud"] == AUDIENCE
        && claims["email"] == SERVICE_ACCOUNT
        && claims["email_verified"] == true
        && has_begun("iat")
        && (claims["nbf"].is_null() || has_begun("nbf"))
        && time("exp").is_some_and(|at| at >= NOW - LEEWAY && Some(at) >= time("iat"))
}

struct Gmail;

impl Scheme for Gmail {
    const SIGNATURE: &'static str = AUTHORIZATION;
    const SIGNATURE_CHARS: usize = 342;
    const COVERS_BODY: bool = false;

    fn is_authentic(headers: &HeaderMap, _: &[u8]) -> bool {
        single_header(headers, AUTHORIZATION)
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .and_then(|(_, token)| verify_token(token))
            .is_some_and(|(header, claims)| is_valid(&header, &claims))
    }

    /// An input's header may be invalid.
    fn is_well_formed(message: &Message<'_>) -> bool {
        message.directive("head").is_none() && message.directive("claims").is_none()
    }

    /// Signs the message's header and claims, or valid ones. Invalid ones must be rejected.
    fn sign(message: &Message<'_>, headers: &mut HeaderMap, _: usize) {
        let header = message.json("head");
        let header = header.unwrap_or_else(|| json!({ "alg": "RS256", "kid": KEY_ID }));
        let claims = message.json("claims").unwrap_or_else(|| {
            json!({ "iss": ISSUER, "aud": AUDIENCE, "email": SERVICE_ACCOUNT,
                    "email_verified": true, "iat": NOW, "exp": NOW + 3600 })
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let token = format!("Bearer {signed}.{}", sign(&signed));
        set_header(headers, AUTHORIZATION, &token);
    }

    fn identify(_: &mut HeaderMap) {}
}
