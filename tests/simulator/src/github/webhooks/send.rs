//! One attempt of a delivery: sign, send, log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use aws_lc_rs::hmac;
use bytes::Bytes;

use super::log::LogEntry;
use super::{Delivery, Inner};
use crate::faults::Effect;
use crate::forgery::{forge, must_be_rejected};
use crate::github::settings::Settings;

impl Inner {
    /// Sends a delivery once, or twice if its fault requires it, and logs each attempt.
    pub(super) async fn send(self: &Arc<Self>, delivery: Delivery) {
        let _permit = self.permits.acquire().await;
        let settings = self.settings.read().clone();
        let effect = delivery.fault.as_ref().map(|rule| rule.effect);
        let times = if effect == Some(Effect::Duplicate) {
            2
        } else {
            1
        };
        for _ in 0..times {
            self.attempt(&delivery, effect, &settings).await;
        }
        self.unfinished.finish();
    }

    async fn attempt(&self, delivery: &Delivery, effect: Option<Effect>, settings: &Settings) {
        let body = wire_body(delivery, effect, settings);
        let headers = self.headers(delivery, effect, settings, &body);
        let started = Instant::now();
        let result = if effect == Some(Effect::Drop) {
            SendResult::without_response("failed to connect to host")
        } else {
            self.post(settings, &headers, body).await
        };
        if effect.is_some_and(is_forged) {
            self.core.stats.count_forged(result.status_code);
        }
        self.core.stats.count(
            if result.status_code / 100 == 2 {
                "github.delivered"
            } else {
                "github.undelivered"
            },
            1,
        );
        self.log.add(LogEntry {
            id: 0,
            guid: delivery.guid.clone(),
            event: delivery.event,
            action: delivery.action,
            account: delivery.account.clone(),
            installation: delivery.installation,
            repository: delivery.repository,
            redelivery: delivery.redelivery,
            at: self.core.clock.seconds(),
            duration: started.elapsed().as_secs_f64(),
            status: result.status,
            status_code: result.status_code,
            request_headers: headers,
            response_headers: result.headers,
            response_body: result.body,
            body: Some(delivery.body.clone()),
        });
    }

    fn headers(
        &self,
        delivery: &Delivery,
        effect: Option<Effect>,
        settings: &Settings,
        body: &[u8],
    ) -> Vec<(&'static str, String)> {
        let content_type = if settings.form_webhooks {
            "application/x-www-form-urlencoded"
        } else {
            "application/json"
        };
        let mut headers = vec![
            ("Accept", "*/*".to_owned()),
            ("Content-Type", content_type.to_owned()),
            ("X-GitHub-Event", delivery.event.to_owned()),
            ("X-GitHub-Delivery", delivery.guid.clone()),
            ("X-GitHub-Hook-ID", self.hook_id.to_string()),
            (
                "X-GitHub-Hook-Installation-Target-ID",
                self.app_id.to_string(),
            ),
            (
                "X-GitHub-Hook-Installation-Target-Type",
                "integration".to_owned(),
            ),
        ];
        let secret = match effect {
            Some(Effect::NoSignature) => return headers,
            Some(Effect::WrongSignature) => "a wrong secret",
            _ => settings.webhook_secret.as_str(),
        };
        headers.push((
            "X-Hub-Signature",
            format!(
                "sha1={}",
                sign(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret, body)
            ),
        ));
        headers.push((
            "X-Hub-Signature-256",
            format!("sha256={}", sign(hmac::HMAC_SHA256, secret, body)),
        ));
        headers
    }

    async fn post(
        &self,
        settings: &Settings,
        headers: &[(&'static str, String)],
        body: Bytes,
    ) -> SendResult {
        let mut request = self.client.post(&settings.webhook_url).body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        match request.send().await {
            Err(error) if error.is_timeout() => SendResult::without_response("timed out"),
            Err(_) => SendResult::without_response("failed to connect to host"),
            Ok(response) => {
                let status = response.status();
                let headers = response
                    .headers()
                    .iter()
                    .map(|(name, value)| {
                        (
                            name.to_string(),
                            String::from_utf8_lossy(value.as_bytes()).into_owned(),
                        )
                    })
                    .collect();
                // The body is read completely so that the socket can be reused.
                let body = response
                    .text()
                    .await
                    .unwrap_or_default()
                    .chars()
                    .take(2_000)
                    .collect();
                let status_text = if status.is_success() {
                    "OK".to_owned()
                } else {
                    format!("Invalid HTTP Response: {}", status.as_u16())
                };
                SendResult {
                    status: status_text,
                    status_code: status.as_u16(),
                    headers,
                    body,
                }
            }
        }
    }
}

struct SendResult {
    status: String,
    status_code: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl SendResult {
    fn without_response(status: &str) -> Self {
        Self {
            status: status.to_owned(),
            status_code: 0,
            headers: BTreeMap::new(),
            body: String::new(),
        }
    }
}

/// Whether receivers must reject a delivery with this fault.
///
/// GitHub's signatures have no timestamp, so they cannot expire.
fn is_forged(effect: Effect) -> bool {
    must_be_rejected(effect) && effect != Effect::OldSignature
}

/// Body on the wire: JSON or a form, forged or padded by the fault.
fn wire_body(delivery: &Delivery, effect: Option<Effect>, settings: &Settings) -> Bytes {
    let mut body = match serde_json::from_slice(&delivery.body) {
        Ok(original) if effect.is_some_and(is_forged) => forge(&original).to_string().into(),
        _ => delivery.body.clone(),
    };
    if effect == Some(Effect::Oversize) {
        let size = delivery
            .fault
            .as_ref()
            .and_then(|rule| rule.bytes)
            .unwrap_or(26 * 1024 * 1024);
        let mut padded = body.to_vec();
        padded.resize(size.max(padded.len()), b' ');
        body = padded.into();
    }
    if settings.form_webhooks {
        let text = String::from_utf8_lossy(&body);
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("payload", &text);
        body = form.finish().into();
    }
    body
}

fn sign(algorithm: hmac::Algorithm, secret: &str, body: &[u8]) -> String {
    hex::encode(hmac::sign(
        &hmac::Key::new(algorithm, secret.as_bytes()),
        body,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_matches_the_documented_vector() {
        let signature = sign(
            hmac::HMAC_SHA256,
            "It's a Secret to Everybody",
            b"Hello, World!",
        );
        assert_eq!(
            signature,
            "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        );
    }
}
