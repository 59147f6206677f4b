//! Slack: a signature over time and body.

use http::HeaderMap;

use super::Provider;
use crate::message::Message;
use crate::provider::{CLIENT_SECRETS, NOW, WEBHOOK_SECRETS};
use crate::signature;
use crate::webhook::{self, Scheme, set_header, single_header};

pub(super) const PROVIDER: Provider = Provider {
    slug: "slack",
    settings: |base| {
        vec![
            ("SLACK_APP_ID", "A0POBLYSH".to_owned()),
            ("SLACK_CLIENT_ID", "111.222".to_owned()),
            ("SLACK_CLIENT_SECRET", CLIENT_SECRETS.join(",")),
            ("SLACK_WEBHOOK_SECRET", WEBHOOK_SECRETS.join(",")),
            ("SLACK_APP_TOKEN", "xapp-token-of-tests".to_owned()),
            ("SLACK_USER_SCOPES", "channels:history".to_owned()),
            ("SLACK_BASE_URL", base.to_owned()),
        ]
    },
    sign: Slack::sign,
    check_delivery: webhook::run::<Slack>,
};

const TIMESTAMP: &str = "x-slack-request-timestamp";

struct Slack;

impl Scheme for Slack {
    const SIGNATURE: &'static str = "x-slack-signature";
    const SIGNATURE_CHARS: usize = 64;
    const COVERS_BODY: bool = true;

    fn is_authentic(headers: &HeaderMap, body: &[u8]) -> bool {
        let (Some(time), Some(sent)) = (
            single_header(headers, TIMESTAMP),
            single_header(headers, Self::SIGNATURE),
        ) else {
            return false;
        };
        let is_recent = time
            .parse::<i128>()
            .is_ok_and(|time| (time - i128::from(NOW)).abs() <= 300);
        is_recent
            && WEBHOOK_SECRETS.iter().any(|secret| {
                let parts: [&[u8]; 4] = [b"v0:", time.as_bytes(), b":", body];
                sent == format!("v0={}", signature::hex(secret, &parts))
            })
    }

    fn sign(message: &Message<'_>, headers: &mut HeaderMap, secret: usize) {
        let time = match message.directive("time") {
            Some(time) if time.bytes().all(|byte| byte.is_ascii_digit()) => time.to_owned(),
            _ => NOW.to_string(),
        };
        let parts: [&[u8]; 4] = [b"v0:", time.as_bytes(), b":", message.body];
        let hex = signature::hex(WEBHOOK_SECRETS[secret], &parts);
        set_header(headers, TIMESTAMP, &time);
        set_header(headers, Self::SIGNATURE, &format!("v0={hex}"));
    }

    fn identify(_: &mut HeaderMap) {}
}
