//! How Slack delivers events: signed over time and body, three seconds of patience, three
//! retries under the same event id.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::hmac;
use reqwest::{Client, RequestBuilder};
use serde_json::json;

use super::settings::Settings;
use crate::simulator::clock::Clock;
use crate::simulator::faults::Effect;
use crate::simulator::outbox::{Courier, Outcome, Silence, Try};

pub(crate) const USER_AGENT: &str = "Slackbot 1.0 (+https://api.slack.com/robots)";

/// How long an answer may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// Delivers as Slack does.
pub(crate) struct Slackbot(pub(crate) Arc<RwLock<Settings>>);

impl Courier for Slackbot {
    fn request(&self, client: &Client, attempt: &Try<'_>) -> RequestBuilder {
        let settings = self.0.read().unwrap_or_else(PoisonError::into_inner);
        // The receiver judges by the machine's clock, whatever the simulated one shows.
        let mut time = Clock::system_seconds();
        if attempt.effect == Some(Effect::OldSignature) {
            time -= 600;
        }
        let secret = match attempt.effect {
            Some(Effect::WrongSignature) => "nobody has this secret",
            _ => settings.signing_secret.as_str(),
        };
        let mut request = client
            .post(&attempt.letter.url)
            .header("content-type", "application/json")
            .header("x-slack-request-timestamp", time);
        if attempt.effect != Some(Effect::NoSignature) {
            request = request.header("x-slack-signature", sign(secret, time, attempt.body));
        }
        if attempt.number > 0 {
            let reason = match attempt.before.silence {
                Some(Silence::Timeout) => "http_timeout",
                Some(Silence::Redirects) => "too_many_redirects",
                Some(Silence::Connection) => "connection_failed",
                None => "http_error",
            };
            request = request
                .header("x-slack-retry-num", attempt.number)
                .header("x-slack-retry-reason", reason);
        }
        request
    }

    fn pauses(&self) -> Vec<f64> {
        let settings = self.0.read().unwrap_or_else(PoisonError::into_inner);
        settings.retry_seconds.clone()
    }

    fn retries(&self, outcome: &Outcome) -> bool {
        outcome
            .headers
            .get("x-slack-no-retry")
            .is_none_or(|value| value != "1")
    }

    fn counters(&self) -> [&'static str; 3] {
        ["slack.events", "slack.delivered", "slack.given_up"]
    }
}

/// `v0=` and the hex HMAC of `v0:<time>:<body>`.
pub(crate) fn sign(secret: &str, time: i64, body: &[u8]) -> String {
    let mut signed = format!("v0:{time}:").into_bytes();
    signed.extend_from_slice(body);
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    format!("v0={}", hex::encode(hmac::sign(&key, &signed)))
}

/// Sends a URL the challenge that it has to give back; answers its status and body.
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
        .timeout(PATIENCE)
        .no_proxy()
        .build()?;
    let answer = client
        .post(url)
        .header("content-type", "application/json")
        .header("x-slack-request-timestamp", time)
        .header("x-slack-signature", sign(secret, time, body.as_bytes()))
        .body(body)
        .send()
        .await?;
    let status = answer.status().as_u16();
    Ok((status, answer.text().await?))
}
