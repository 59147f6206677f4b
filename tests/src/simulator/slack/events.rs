//! How Slack delivers events: signed over time and body, three seconds of patience, three
//! retries under the same event id.

use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::hmac;
use reqwest::{Client, RequestBuilder};

use super::settings::Settings;
use crate::simulator::clock::Clock;
use crate::simulator::faults::Effect;
use crate::simulator::outbox::{Courier, Try};

pub(crate) const USER_AGENT: &str = "Slackbot 1.0 (+https://api.slack.com/robots)";

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
            .post(&settings.webhook_url)
            .header("content-type", "application/json")
            .header("x-slack-request-timestamp", time);
        if attempt.effect != Some(Effect::NoSignature) {
            request = request.header("x-slack-signature", sign(secret, time, attempt.body));
        }
        if attempt.number > 0 {
            let reason = if attempt.before == 0 {
                "connection_failed"
            } else {
                "http_error"
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

    fn retries(&self, _status: u16) -> bool {
        true
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
