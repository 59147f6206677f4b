//! Deliveries of GitHub.

#![no_main]

use std::sync::{Arc, LazyLock};

use fuzz::message::Message;
use fuzz::provider::{WEBHOOK_SECRETS, connector};
use fuzz::signature;
use fuzz::webhook::{self, Scheme, set_header};
use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use shared::connectors::Connector;

struct GitHub;

impl Scheme for GitHub {
    const SIGNATURE: &'static str = "x-hub-signature-256";
    const SIGNATURE_CHARS: usize = 64;
    const COVERS_BODY: bool = true;

    fn is_authentic(headers: &HeaderMap, body: &[u8]) -> bool {
        webhook::is_signed(headers, Self::SIGNATURE, body)
    }

    fn sign(message: &Message<'_>, headers: &mut HeaderMap, secret: usize) {
        let signed = signature::body_signature(WEBHOOK_SECRETS[secret], message.body);
        set_header(headers, Self::SIGNATURE, &signed);
    }

    fn identify(headers: &mut HeaderMap) {
        set_header(headers, "x-github-event", "issues");
        set_header(
            headers,
            "x-github-delivery",
            "00000000-0000-4000-8000-000000000000",
        );
    }
}

static CONNECTOR: LazyLock<Arc<dyn Connector>> =
    LazyLock::new(|| connector("github", "http://localhost:1"));

fuzz_target!(|data: &[u8]| webhook::run::<GitHub>(&**CONNECTOR, data));
