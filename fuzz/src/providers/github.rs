//! GitHub: a signature over the body.

use http::HeaderMap;

use super::Provider;
use crate::message::Message;
use crate::provider::{CLIENT_SECRETS, WEBHOOK_SECRETS};
use crate::signature;
use crate::webhook::{self, Scheme, set_header};

/// Private key for tests only.
const PRIVATE_KEY: &str =
    include_str!("../../../shared/src/connectors/github/fixtures/test-app.pem");

pub(super) const PROVIDER: Provider = Provider {
    slug: "github",
    settings: |base| {
        vec![
            ("GITHUB_APP_ID", "12345".to_owned()),
            ("GITHUB_APP_SLUG", "poblysh".to_owned()),
            ("GITHUB_CLIENT_ID", "Iv1.client".to_owned()),
            ("GITHUB_CLIENT_SECRET", CLIENT_SECRETS.join(",")),
            ("GITHUB_WEBHOOK_SECRET", WEBHOOK_SECRETS.join(",")),
            ("GITHUB_PRIVATE_KEY", PRIVATE_KEY.to_owned()),
            ("GITHUB_WEB_BASE_URL", base.to_owned()),
            ("GITHUB_API_BASE_URL", base.to_owned()),
        ]
    },
    sign: GitHub::sign,
    check_delivery: webhook::run::<GitHub>,
};

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
