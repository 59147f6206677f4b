//! What Google's products share: settings, and channels whose token is derived from their id.

use std::marker::PhantomData;

use http::HeaderMap;

use crate::message::Message;
use crate::provider::{CLIENT_SECRETS, WEBHOOK_SECRETS};
use crate::signature;
use crate::webhook::{Scheme, set_header, single_header};

const CHANNEL: &str = "x-goog-channel-id";

/// Settings of every product, with this base URL.
pub(super) fn settings(base: &str) -> Vec<(&'static str, String)> {
    vec![
        ("GOOGLE_CLIENT_ID", "client-id".to_owned()),
        ("GOOGLE_CLIENT_SECRET", CLIENT_SECRETS.join(",")),
        ("GOOGLE_WEBHOOK_SECRET", WEBHOOK_SECRETS.join(",")),
        ("GOOGLE_AUTH_BASE_URL", base.to_owned()),
        ("GOOGLE_TOKEN_BASE_URL", base.to_owned()),
        ("GOOGLE_USERINFO_BASE_URL", base.to_owned()),
        ("GOOGLE_API_BASE_URL", base.to_owned()),
        ("GOOGLE_GMAIL_API_BASE_URL", base.to_owned()),
    ]
}

/// A product with channels.
pub(super) trait Product {
    /// The product's slug, which a channel's token authenticates.
    const SLUG: &'static str;
}

/// Scheme of the pushes of a product's channels.
pub(super) struct Channels<P>(PhantomData<P>);

impl<P: Product> Channels<P> {
    fn token(secret: &str, channel: &str) -> String {
        signature::tag(secret, &format!("{}|{channel}", P::SLUG))
    }
}

impl<P: Product> Scheme for Channels<P> {
    const SIGNATURE: &'static str = "x-goog-channel-token";
    const SIGNATURE_CHARS: usize = 43;
    const COVERS_BODY: bool = false;

    fn is_authentic(headers: &HeaderMap, _: &[u8]) -> bool {
        let sent = single_header(headers, Self::SIGNATURE);
        single_header(headers, CHANNEL).is_some_and(|channel| {
            let mut secrets = WEBHOOK_SECRETS.iter();
            secrets.any(|secret| sent == Some(Self::token(secret, channel).as_str()))
        })
    }

    fn sign(message: &Message<'_>, headers: &mut HeaderMap, secret: usize) {
        let channel = message.directive("channel").filter(|id| is_identifier(id));
        let channel = channel.unwrap_or("6b1f5a1e-77a7-4b0e-9a53-0d2f3c9e0001");
        set_header(headers, CHANNEL, channel);
        let token = Self::token(WEBHOOK_SECRETS[secret], channel);
        set_header(headers, Self::SIGNATURE, &token);
    }

    fn identify(headers: &mut HeaderMap) {
        set_header(headers, "x-goog-resource-id", "resource-1");
        set_header(headers, "x-goog-resource-state", "change");
        set_header(headers, "x-goog-message-number", "2");
    }
}

fn is_identifier(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}
