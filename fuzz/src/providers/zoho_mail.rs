//! Zoho Mail: a signature of the body in base64, with a secret that a handshake brings.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use http::HeaderMap;

use super::Provider;
use crate::message::Message;
use crate::provider::{CLIENT_SECRETS, WEBHOOK_SECRETS};
use crate::signature;
use crate::webhook::{self, Scheme, set_header, single_header};

pub(super) const PROVIDER: Provider = Provider {
    slug: "zoho_mail",
    settings: |base| {
        vec![
            ("ZOHO_CLIENT_ID", "client-id".to_owned()),
            ("ZOHO_CLIENT_SECRET", CLIENT_SECRETS.join(",")),
            ("ZOHO_BASE_URL", base.to_owned()),
        ]
    },
    sign: ZohoMail::sign,
    check_delivery: |connector, data| webhook::run::<ZohoMail>(connector, data),
};

const SIGNATURE: &str = "x-hook-signature";
const SECRET: &str = "x-hook-secret";

/// Signature of a body, padded.
fn sign_body(secret: &str, body: &[u8]) -> String {
    let digest = hex::decode(signature::hex(secret, &[body])).expect("hex digits");
    STANDARD.encode(digest)
}

/// Whether a header contains the body's signature under any of the secrets, padded or not.
fn is_signed(headers: &HeaderMap, secrets: &[&str], body: &[u8]) -> bool {
    let Some(sent) = single_header(headers, SIGNATURE).map(str::trim) else {
        return false;
    };
    secrets.iter().any(|secret| {
        let signed = sign_body(secret, body);
        sent == signed || sent == signed.trim_end_matches('=')
    })
}

struct ZohoMail;

impl Scheme for ZohoMail {
    const SIGNATURE: &'static str = SIGNATURE;
    const SIGNATURE_CHARS: usize = 43;
    const COVERS_BODY: bool = true;
    const TO_CONNECTION: bool = true;

    /// A handshake is authentic without a signature, because only an armed connection accepts it.
    fn is_authentic(headers: &HeaderMap, body: &[u8]) -> bool {
        if !headers.contains_key(SECRET) {
            return is_signed(headers, &WEBHOOK_SECRETS, body);
        }
        let Some(secret) = single_header(headers, SECRET).filter(|secret| !secret.is_empty())
        else {
            return false;
        };
        if !headers.contains_key(SIGNATURE) {
            return true;
        }
        if WEBHOOK_SECRETS.contains(&secret) {
            is_signed(headers, &WEBHOOK_SECRETS, body)
        } else {
            is_signed(headers, &[secret], body)
        }
    }

    /// The directive `@padding: none` leaves out the padding.
    fn sign(message: &Message<'_>, headers: &mut HeaderMap, secret: usize) {
        headers.remove(SECRET);
        let mut signed = sign_body(WEBHOOK_SECRETS[secret], message.body);
        if message.directive("padding") == Some("none") {
            let digest = STANDARD.decode(signed).expect("base64");
            signed = STANDARD_NO_PAD.encode(digest);
        }
        set_header(headers, SIGNATURE, &signed);
    }

    fn identify(_: &mut HeaderMap) {}
}
