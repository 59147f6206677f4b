//! Delivery of events.
//!
//! A signature over time and body, a timeout of three seconds, and three retries with the same
//! event id.

use std::time::Duration;

use aws_lc_rs::hmac;
use reqwest::{Client, RequestBuilder};
use serde_json::json;

use super::settings::Settings;
use crate::clock::Clock;
use crate::faults::Effect;
use crate::lock::Shared;
use crate::webhook_sender::{Attempt, DeliveryPolicy, NoResponse, Outcome};

pub(crate) const USER_AGENT: &str = "Slackbot 1.0 (+https://api.slack.com/robots)";

/// Timeout of a delivery's response.
pub(crate) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(3);

/// Slack's delivery policy.
pub(crate) struct Slackbot(pub(crate) Shared<Settings>);

impl DeliveryPolicy for Slackbot {
    fn request(&self, client: &Client, attempt: &Attempt<'_>) -> RequestBuilder {
        let settings = self.0.read();
        // The receiver compares the time with the system clock, not with the simulated one.
        let mut time = Clock::system_seconds();
        if attempt.effect == Some(Effect::OldSignature) {
            time -= 600;
        }
        let secret = match attempt.effect {
            Some(Effect::WrongSignature) => "wrong-secret",
            _ => settings.signing_secret.as_str(),
        };
        let mut request = client
            .post(&attempt.delivery.url)
            .header("content-type", "application/json")
            .header("x-slack-request-timestamp", time);
        if attempt.effect != Some(Effect::NoSignature) {
            request = request.header("x-slack-signature", sign(secret, time, attempt.body));
        }
        if attempt.number > 0 {
            let reason = match attempt.previous.no_response {
                Some(NoResponse::Timeout) => "http_timeout",
                Some(NoResponse::Redirects) => "too_many_redirects",
                Some(NoResponse::Connection) => "connection_failed",
                None => "http_error",
            };
            request = request
                .header("x-slack-retry-num", attempt.number)
                .header("x-slack-retry-reason", reason);
        }
        request
    }

    fn retry_delays(&self) -> Vec<f64> {
        let settings = self.0.read();
        settings.retry_seconds.clone()
    }

    fn should_retry(&self, outcome: &Outcome) -> bool {
        outcome
            .headers
            .get("x-slack-no-retry")
            .is_none_or(|value| value != "1")
    }

    fn counters(&self) -> [&'static str; 3] {
        ["slack.events", "slack.delivered", "slack.given_up"]
    }
}

/// Signature: `v0=` and the hex HMAC of `v0:<time>:<body>`.
pub(crate) fn sign(secret: &str, time: i64, body: &[u8]) -> String {
    let mut signed = format!("v0:{time}:").into_bytes();
    signed.extend_from_slice(body);
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    format!("v0={}", hex::encode(hmac::sign(&key, &signed)))
}

/// Sends the challenge of a URL verification and returns the response's status and body.
pub(crate) async fn verify(
    url: &str,
    secret: &str,
    challenge: &str,
) -> Result<(u16, String), reqwest::Error> {
    let body = json!({ "token": "deprecated", "challenge": challenge, "type": "url_verification" });
    let body = body.to_string();
    let time = Clock::system_seconds();
    let client = Client::builder()
        .user_agent(USER_AGENT)
        .timeout(RESPONSE_TIMEOUT)
        .no_proxy()
        .build()?;
    let response = client
        .post(url)
        .header("content-type", "application/json")
        .header("x-slack-request-timestamp", time)
        .header("x-slack-signature", sign(secret, time, body.as_bytes()))
        .body(body)
        .send()
        .await?;
    let status = response.status().as_u16();
    Ok((status, response.text().await?))
}
