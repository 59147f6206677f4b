//! Webhook keys that the provider generates: handshake secrets, public keys.
//!
//! These tests use a provider of their own, which has both.

mod mailbox;

use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use shared::config::Env;
use shared::service::Lifecycle;
use shared::telemetry::MetricsHandle;
use tests::harness::{System, Tenant, eventually, free_address};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::ingress::signature;
use crate::jira;
use mailbox::{
    HANDSHAKE_HEADER, KEY_SIGNATURE_HEADER, Mailbox, SIGNATURE_HEADER, SLUG, with_mailbox,
};

/// API server and ingress with the test provider, beside a system without it.
struct Fixture<'s> {
    system: &'s System,
    tenant: Tenant<'s>,
    connection: Uuid,
    api: String,
    lifecycles: Vec<Lifecycle>,
}

impl<'s> Fixture<'s> {
    async fn start(system: &'s System) -> Self {
        let (api, ingress) = (free_address(), free_address());
        let mut env = system.env.clone();
        let url = format!("http://{ingress}");
        env.insert("POBLYSH_PUBLIC_WEBHOOK_URL".to_owned(), url);
        let env = Env::from_pairs(env);
        let metrics = MetricsHandle::global().expect("a recorder");
        let config = api_server::Config::from_env(&env).expect("the API's settings");
        let listener = TcpListener::bind(api).await.expect("a free port");
        let server = api_server::start_with(config, listener, metrics.clone(), with_mailbox);
        let server = server.await.expect("the API starts");
        let mut config = webhook_ingress::Config::from_env(&env).expect("the ingress's settings");
        let other = config.webhooks.get("github").expect("a provider");
        let mailbox = Mailbox::from_descriptor(other.descriptor());
        config.webhooks.replace(Arc::new(mailbox));
        let listener = TcpListener::bind(ingress).await.expect("a free port");
        let webhooks = webhook_ingress::start(config, listener, metrics).await;
        let webhooks = webhooks.expect("the ingress starts");
        let tenant = system.tenant("Acme").await;
        let connection = Uuid::now_v7();
        for statement in [
            "INSERT INTO connections (tenant_id, id, provider, status, account_id, account_name, \
                 account_stable_id, poll_interval_seconds) \
             VALUES ($1, $2, 'mailbox', 'active', $2::text, 'inbox', $2::text, 300)",
            "INSERT INTO connection_routes (tenant_id, connection_id, provider, account_id, \
                 exclusive, polling, poll_interval_seconds) \
             VALUES ($1, $2, 'mailbox', $2::text, true, false, 300)",
        ] {
            sqlx::query(statement)
                .bind(tenant.id)
                .bind(connection)
                .execute(system.db.pool())
                .await
                .expect("the row is stored");
        }
        Self {
            system,
            tenant,
            connection,
            api: format!("http://{api}"),
            lifecycles: vec![server.lifecycle().clone(), webhooks.lifecycle().clone()],
        }
    }

    /// Sends a request for the connection's webhook.
    async fn request_webhook(&self, body: Option<Value>) -> Response {
        let url = format!("{}/v1/connections/{}/webhook", self.api, self.connection);
        let client = &self.system.client;
        let mut request = client
            .request(Method::POST, url)
            .bearer_auth(&self.tenant.key);
        if let Some(body) = body {
            request = request.json(&body);
        }
        request.send().await.expect("an API response")
    }

    /// Creates or rotates the connection's webhook key.
    async fn create_webhook(&self, body: Option<Value>) -> Value {
        let response = self.request_webhook(body).await;
        assert_eq!(response.status(), StatusCode::CREATED);
        response.json().await.expect("JSON")
    }

    async fn post(&self, url: &str, headers: &[(&'static str, &str)], body: &str) -> Response {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().expect("a header"));
        }
        let body = Bytes::copy_from_slice(body.as_bytes());
        let request = self.system.client.post(url).headers(map).body(body);
        request.send().await.expect("an ingress response")
    }

    /// Sends a handshake with this secret and returns the status.
    async fn handshake(&self, url: &str, secret: &str) -> u16 {
        let response = self.post(url, &[(HANDSHAKE_HEADER, secret)], "").await;
        response.status().as_u16()
    }

    /// Sends a delivery signed with this secret and returns the status.
    async fn deliver(&self, url: &str, secret: &str, body: &str) -> u16 {
        let signed = signature(secret, body.as_bytes());
        let response = self.post(url, &[(SIGNATURE_HEADER, &signed)], body).await;
        response.status().as_u16()
    }

    /// Lists the audit log's actions on the connection's key.
    async fn audit_actions(&self) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT action FROM audit_log \
             WHERE tenant_id = $1 AND target = $2 AND action LIKE 'connection.webhook%' ORDER BY at",
        )
        .bind(self.tenant.id)
        .bind(self.connection.to_string())
        .fetch_all(self.system.db.pool())
        .await
        .expect("the query result")
    }
}

impl Drop for Fixture<'_> {
    fn drop(&mut self) {
        for lifecycle in &self.lifecycles {
            lifecycle.draining().cancel();
            lifecycle.aborted().cancel();
        }
    }
}

const FIRST: &str = "the first secret of the provider";
const SECOND: &str = "the second secret of the provider";
const HIJACKED: &str = "a secret of an attacker";

#[tokio::test(flavor = "multi_thread")]
async fn handshake_secret_is_accepted_once_while_armed() {
    let system = System::with_fast_provider().workers(0).start().await;
    let fixture = Fixture::start(&system).await;
    let url = fixture.create_webhook(None).await["url"]
        .as_str()
        .expect("a URL")
        .to_owned();
    assert!(url.ends_with(&format!("/webhooks/{SLUG}/{}", fixture.connection)));
    // Simulates that the arming has expired.
    sqlx::query("UPDATE webhook_arming SET armed_until = now() - interval '1 second'")
        .execute(system.db.pool())
        .await
        .expect("expired");
    assert_eq!(fixture.handshake(&url, HIJACKED).await, 401);
    assert_eq!(fixture.deliver(&url, HIJACKED, r#"{"n":0}"#).await, 401);

    let armed = fixture.create_webhook(None).await;
    assert_eq!(armed["url"], url);
    assert!(armed["secret"].is_null() && armed["previous_secret_expires_at"].is_null());
    let until: chrono::DateTime<chrono::Utc> =
        serde_json::from_value(armed["armed_until"].clone()).expect("a time");
    let now: chrono::DateTime<chrono::Utc> = sqlx::query_scalar("SELECT now()")
        .fetch_one(system.db.pool())
        .await
        .expect("the query result");
    let left = (until - now).num_seconds();
    assert!((800..=900).contains(&left), "{left}");
    let response = fixture.post(&url, &[(HANDSHAKE_HEADER, FIRST)], "").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/plain");
    assert_eq!(response.text().await.expect("a body"), "hello");
    assert_eq!(fixture.handshake(&url, HIJACKED).await, 401, "once");
    assert_eq!(fixture.deliver(&url, HIJACKED, r#"{"n":1}"#).await, 401);
    let signed = signature(FIRST, br#"{"n":1}"#);
    let response = fixture
        .post(&url, &[(SIGNATURE_HEADER, &signed)], r#"{"n":1}"#)
        .await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.text().await.expect("a body"), "{}");

    // Arming alone ends nothing; the secret that follows it ends the earlier one at once.
    fixture.create_webhook(None).await;
    assert_eq!(
        fixture.handshake(&url, "").await,
        401,
        "an empty secret is none"
    );
    let deliver = async |secret: &str, number: u32| {
        let body = json!({ "by": secret, "number": number }).to_string();
        fixture.deliver(&url, secret, &body).await
    };
    assert_eq!(deliver(FIRST, 1).await, 202, "the connection is armed only");
    assert_eq!(fixture.handshake(&url, SECOND).await, 200);
    assert_eq!(deliver(FIRST, 2).await, 401);
    assert_eq!(deliver(SECOND, 2).await, 202);
    // The app's URL accepts no handshake.
    let app = url.rsplit_once('/').expect("a path").0;
    assert_eq!(fixture.handshake(app, HIJACKED).await, 401);
    let sealed: Vec<Vec<u8>> = sqlx::query_scalar("SELECT secret FROM webhook_secrets")
        .fetch_all(system.db.pool())
        .await
        .expect("the query result");
    let is_plain = |sealed: &Vec<u8>| sealed.windows(6).any(|part| part == b"secret");
    assert!(sealed.len() == 1 && !sealed.iter().any(is_plain));
    assert_eq!(
        fixture.audit_actions().await,
        [
            "connection.webhook_armed",
            "connection.webhook_armed",
            "connection.webhook_secret_received",
            "connection.webhook_armed",
            "connection.webhook_secret_received",
        ]
    );
    system.start_worker_with(with_mailbox).await;
    eventually("the deliveries are Signals", async || {
        fixture.tenant.identities().await.len() == 3
    })
    .await;
}

/// Generates a key pair and its public key as the provider shows it.
fn generate_key_pair() -> (KeyPair, String) {
    let pair = KeyPair::generate(KeySize::Rsa2048).expect("a key pair");
    let der: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("DER");
    let text = STANDARD.encode(der.as_ref());
    (pair, text)
}

fn sign(pair: &KeyPair, body: &str) -> String {
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        body.as_bytes(),
        &mut signature,
    )
    .expect("signed");
    STANDARD.encode(signature)
}

#[tokio::test(flavor = "multi_thread")]
async fn public_key_of_the_provider_verifies_deliveries() {
    let system = System::with_fast_provider().workers(0).start().await;
    let fixture = Fixture::start(&system).await;
    let (pair, public) = generate_key_pair();
    let (other, _) = generate_key_pair();
    for bad in [json!("no key"), json!(""), json!(7), json!("AAAA")] {
        let response = fixture
            .request_webhook(Some(json!({ "public_key": bad })))
            .await;
        assert_eq!(response.status().as_u16(), 422, "{bad}");
    }
    let webhook = fixture
        .create_webhook(Some(json!({ "public_key": public })))
        .await;
    assert!(webhook["secret"].is_null() && webhook["armed_until"].is_null());
    let url = webhook["url"].as_str().expect("a URL").to_owned();
    let deliver = async |pair: &KeyPair, body: &str| {
        let signed = sign(pair, body);
        let headers = [
            (SIGNATURE_HEADER, signed.as_str()),
            (KEY_SIGNATURE_HEADER, "1"),
        ];
        fixture.post(&url, &headers, body).await.status().as_u16()
    };
    assert_eq!(deliver(&pair, r#"{"n":1}"#).await, 202);
    assert_eq!(deliver(&other, r#"{"n":2}"#).await, 401);
    // A public key is not accepted as an HMAC secret.
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{public}\n-----END PUBLIC KEY-----");
    for secret in [public.as_str(), &pem] {
        assert_eq!(fixture.deliver(&url, secret, r#"{"n":3}"#).await, 401);
    }
    let again = fixture
        .create_webhook(Some(json!({ "public_key": pem })))
        .await;
    assert!(again["previous_secret_expires_at"].is_string(), "{again}");
    system.start_worker_with(with_mailbox).await;
    eventually("the delivery is a Signal", async || {
        fixture.tenant.identities().await.len() == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn public_key_is_rejected_for_generated_secrets() {
    let system = System::with_fast_provider().start().await;
    let (_, tenant, connection) = jira::connect_acme(&system).await;
    let path = format!("/v1/connections/{connection}/webhook");
    let body = json!({ "public_key": generate_key_pair().1 });
    let response = tenant.request(Method::POST, &path, Some(&body)).await;
    assert_eq!(response.status().as_u16(), 422);
    let problem: Value = response.json().await.expect("problem+json");
    assert_eq!(problem["details"]["fields"][0]["name"], "public_key");
}
