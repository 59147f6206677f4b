//! One attempt: sign, post, log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Instant;

use aws_lc_rs::hmac;
use bytes::Bytes;

use super::log::Delivered;
use super::{Inner, Outgoing};
use crate::simulator::faults::Effect;
use crate::simulator::forge::{forge, must_be_refused};
use crate::simulator::github::settings::Settings;

impl Inner {
    /// Delivers once, or twice if the fault wants it, and logs every attempt.
    pub(super) async fn send(self: &Arc<Self>, outgoing: Outgoing) {
        let _permit = self.permits.acquire().await;
        let settings = self
            .settings
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let effect = outgoing.fault.as_ref().map(|rule| rule.effect);
        let times = if effect == Some(Effect::Duplicate) {
            2
        } else {
            1
        };
        for _ in 0..times {
            self.attempt(&outgoing, effect, &settings).await;
        }
        self.unfinished.fetch_sub(1, Ordering::SeqCst);
        self.finished.notify_waiters();
    }

    async fn attempt(&self, outgoing: &Outgoing, effect: Option<Effect>, settings: &Settings) {
        let body = wire_body(outgoing, effect, settings);
        let headers = self.headers(outgoing, effect, settings, &body);
        let started = Instant::now();
        let answer = if effect == Some(Effect::Drop) {
            Answer::silent("failed to connect to host")
        } else {
            self.post(settings, &headers, body).await
        };
        if effect.is_some_and(is_forged) {
            self.core.stats.count_forged(answer.status_code);
        }
        self.core.stats.count(
            if answer.status_code / 100 == 2 {
                "github.delivered"
            } else {
                "github.undelivered"
            },
            1,
        );
        self.log.add(Delivered {
            id: 0,
            guid: outgoing.guid.clone(),
            event: outgoing.event,
            action: outgoing.action,
            account: outgoing.account.clone(),
            installation: outgoing.installation,
            repository: outgoing.repository,
            redelivery: outgoing.redelivery,
            at: self.core.clock.seconds(),
            duration: started.elapsed().as_secs_f64(),
            status: answer.status,
            status_code: answer.status_code,
            request_headers: headers,
            response_headers: answer.headers,
            response_body: answer.body,
            body: Some(outgoing.body.clone()),
        });
    }

    fn headers(
        &self,
        outgoing: &Outgoing,
        effect: Option<Effect>,
        settings: &Settings,
        body: &[u8],
    ) -> Vec<(&'static str, String)> {
        let kind = if settings.form_webhooks {
            "application/x-www-form-urlencoded"
        } else {
            "application/json"
        };
        let mut headers = vec![
            ("Accept", "*/*".to_owned()),
            ("Content-Type", kind.to_owned()),
            ("X-GitHub-Event", outgoing.event.to_owned()),
            ("X-GitHub-Delivery", outgoing.guid.clone()),
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
            Some(Effect::WrongSignature) => "nobody has this secret",
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
    ) -> Answer {
        let mut request = self.client.post(&settings.webhook_url).body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        match request.send().await {
            Err(error) if error.is_timeout() => Answer::silent("timed out"),
            Err(_) => Answer::silent("failed to connect to host"),
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
                // The body is read whole so that the connection can be used again.
                let body = response
                    .text()
                    .await
                    .unwrap_or_default()
                    .chars()
                    .take(2_000)
                    .collect();
                let words = if status.is_success() {
                    "OK".to_owned()
                } else {
                    format!("Invalid HTTP Response: {}", status.as_u16())
                };
                Answer {
                    status: words,
                    status_code: status.as_u16(),
                    headers,
                    body,
                }
            }
        }
    }
}

struct Answer {
    status: String,
    status_code: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Answer {
    fn silent(status: &str) -> Self {
        Self {
            status: status.to_owned(),
            status_code: 0,
            headers: BTreeMap::new(),
            body: String::new(),
        }
    }
}

/// Whether a delivery with this fault must be refused: GitHub's have no time, and are never too old.
fn is_forged(effect: Effect) -> bool {
    must_be_refused(effect) && effect != Effect::OldSignature
}

/// What goes over the wire: JSON or a form, padded if the fault wants it.
fn wire_body(outgoing: &Outgoing, effect: Option<Effect>, settings: &Settings) -> Bytes {
    let mut body = match serde_json::from_slice(&outgoing.body) {
        Ok(genuine) if effect.is_some_and(is_forged) => forge(&genuine).to_string().into(),
        _ => outgoing.body.clone(),
    };
    if effect == Some(Effect::Oversize) {
        let size = outgoing
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
    fn the_published_signature_vector_holds() {
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
