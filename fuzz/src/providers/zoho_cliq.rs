//! Zoho Cliq: the connection's secret of a Deluge handler, or the signature of an extension.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use shared::connectors::Connector;

use super::{Provider, gmail};
use crate::message::{Message, split_once};
use crate::provider::WEBHOOK_SECRETS;
use crate::webhook::{self, Scheme, set_header, single_header};

pub(super) const PROVIDER: Provider = Provider {
    slug: "zoho_cliq",
    // The settings of the family are those of Zoho Mail.
    settings: |_| Vec::new(),
    sign: ByHandler::sign,
    check_delivery,
};

const TOKEN: &str = "x-connector-token";
const SIGNATURE: &str = "x-cliq-signature";

/// The directive `@by: extension` selects the scheme.
fn check_delivery(connector: &dyn Connector, data: &[u8]) {
    let by_extension = Message::parse(data).directive("by") == Some("extension");
    if by_extension {
        webhook::run::<ByExtension>(connector, data);
    } else {
        webhook::run::<ByHandler>(connector, data);
    }
}

/// Whether a body may state a time, which may be too old.
fn states_time(body: &[u8]) -> bool {
    split_once(body, b"timestamp").is_some() || body.contains(&b'\\') || body.contains(&b'%')
}

/// Scheme of a Deluge handler: the secret itself.
struct ByHandler;

impl Scheme for ByHandler {
    const SIGNATURE: &'static str = TOKEN;
    const SIGNATURE_CHARS: usize = 17;
    const COVERS_BODY: bool = false;
    const TO_CONNECTION: bool = true;

    fn is_authentic(headers: &HeaderMap, _: &[u8]) -> bool {
        let token = single_header(headers, TOKEN);
        let is_known = token.is_some_and(|token| WEBHOOK_SECRETS.contains(&token));
        is_known && !headers.contains_key(SIGNATURE)
    }

    fn is_well_formed(message: &Message<'_>) -> bool {
        !states_time(message.body)
    }

    fn sign(_: &Message<'_>, headers: &mut HeaderMap, secret: usize) {
        headers.remove(SIGNATURE);
        set_header(headers, TOKEN, WEBHOOK_SECRETS[secret]);
    }

    fn identify(_: &mut HeaderMap) {}
}

/// Scheme of an extension: a signature over the body, with the registered key.
struct ByExtension;

impl Scheme for ByExtension {
    const SIGNATURE: &'static str = SIGNATURE;
    // 256 bytes in base64, with padding.
    const SIGNATURE_CHARS: usize = 344;
    const COVERS_BODY: bool = true;
    const TO_CONNECTION: bool = true;

    fn is_authentic(headers: &HeaderMap, body: &[u8]) -> bool {
        single_header(headers, SIGNATURE)
            .and_then(|signature| STANDARD.decode(signature.trim()).ok())
            .is_some_and(|signature| gmail::is_signed(body, &signature))
    }

    fn is_well_formed(message: &Message<'_>) -> bool {
        !states_time(message.body)
    }

    fn sign(message: &Message<'_>, headers: &mut HeaderMap, _: usize) {
        let signature = gmail::sign_bytes(message.body);
        set_header(headers, SIGNATURE, &STANDARD.encode(signature));
    }

    fn identify(_: &mut HeaderMap) {}
}
