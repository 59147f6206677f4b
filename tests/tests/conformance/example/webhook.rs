//! Verification of the example provider's pushes, which have no body.

use async_trait::async_trait;
use secrecy::SecretString;
use shared::connectors::{
    Acknowledgement, Handshake, KeySource, ProviderDescriptor, VerifyError, WebhookReceipt,
    WebhookRequest, WebhookVerifier,
};
use shared::crypto::{hmac_sha256, verify_hmac_sha256_hex};

/// Header with the id of a channel.
const CHANNEL_HEADER: &str = "x-example-channel";
/// Header with the channel's token, which the app derives from its secret.
pub(super) const TOKEN_HEADER: &str = "x-example-token";
/// Header with the key of the stream that has changed.
pub(super) const RESOURCE_HEADER: &str = "x-example-resource";
/// Header with the number of the push.
pub(super) const NUMBER_HEADER: &str = "x-example-number";
/// Header with the signature of a push to a connection's URL.
pub(super) const SIGNATURE_HEADER: &str = "x-example-signature";
/// Header with the secret of later pushes, in a handshake.
pub(super) const HOOK_SECRET_HEADER: &str = "x-example-hook-secret";

/// The app's secret.
const APP_SECRET: &str = "the app's secret of the example provider";

/// The token that the app gives to a channel: it can verify a push of it without a lookup.
pub(super) fn channel_token(channel: &str, resource: &str) -> String {
    let message = format!("{channel}\n{resource}");
    hex::encode(hmac_sha256(APP_SECRET.as_bytes(), message.as_bytes()))
}

/// The headers of a channel's push.
pub(super) fn channel_headers(
    channel: &str,
    resource: &str,
    number: &str,
) -> [(&'static str, String); 4] {
    [
        (CHANNEL_HEADER, channel.to_owned()),
        (TOKEN_HEADER, channel_token(channel, resource)),
        (RESOURCE_HEADER, resource.to_owned()),
        (NUMBER_HEADER, number.to_owned()),
    ]
}

/// The signed text of a push to a connection's URL.
pub(super) fn connection_message(resource: &str, number: &str) -> String {
    format!("{number}\n{resource}")
}

/// Verifier of one product.
#[derive(Debug)]
pub(super) struct Verifier(pub(super) ProviderDescriptor);

#[async_trait]
impl WebhookVerifier for Verifier {
    fn descriptor(&self) -> &ProviderDescriptor {
        &self.0
    }

    fn is_configured(&self) -> bool {
        true
    }

    async fn verify(
        &self,
        request: &WebhookRequest<'_>,
        keys: &dyn KeySource,
    ) -> Result<WebhookReceipt, VerifyError> {
        verify(self.0.slug, request, keys).await
    }
}

/// Verifies a push.
///
/// At the app's URL by the channel's token, at the connection's URL by its secret.
pub(super) async fn verify(
    slug: &'static str,
    request: &WebhookRequest<'_>,
    keys: &dyn KeySource,
) -> Result<WebhookReceipt, VerifyError> {
    let header = |name: &'static str| {
        let value = request.headers.get(name);
        let value = value.ok_or(VerifyError::MissingHeader(name))?;
        value.to_str().map_err(|_| VerifyError::Malformed)
    };
    let mut receipt = WebhookReceipt {
        event: "wake_up".to_owned(),
        dedupe_id: String::new(),
        routes: Vec::new(),
        acknowledgement: Acknowledgement::default(),
        handshake: None,
        stored_body: None,
    };
    let Some(connection) = request.connection else {
        let (channel, resource) = (header(CHANNEL_HEADER)?, header(RESOURCE_HEADER)?);
        let secrets = [SecretString::from(APP_SECRET)];
        let message = format!("{channel}\n{resource}");
        if !verify_hmac_sha256_hex(&secrets, &[message.as_bytes()], header(TOKEN_HEADER)?) {
            return Err(VerifyError::Mismatch);
        }
        receipt.dedupe_id = format!("{channel}:{}", header(NUMBER_HEADER)?);
        receipt.routes = vec![channel.to_owned()];
        return Ok(receipt);
    };
    if let Ok(secret) = header(HOOK_SECRET_HEADER) {
        receipt.handshake = Some(Handshake {
            secret: Some(SecretString::from(secret)),
        });
        return Ok(receipt);
    }
    let (resource, number) = (header(RESOURCE_HEADER)?, header(NUMBER_HEADER)?);
    let secrets = keys.connection_secrets(slug, connection).await?;
    let message = connection_message(resource, number);
    if !verify_hmac_sha256_hex(&secrets, &[message.as_bytes()], header(SIGNATURE_HEADER)?) {
        return Err(VerifyError::Mismatch);
    }
    receipt.dedupe_id = format!("{connection}:{number}");
    Ok(receipt)
}
