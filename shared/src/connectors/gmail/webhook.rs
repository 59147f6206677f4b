//! Webhooks: Pub/Sub's pushes, which are wake-ups.
//!
//! One topic has the changes of all mailboxes, and one subscription pushes them to the app's URL. A
//! push names a mailbox, not what has changed in it, so all connections of the mailbox read its
//! history from their own positions. Nothing of the body is stored.
//!
//! Source: "Configure push notifications in Gmail API" at developers.google.com.

mod token;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::access::MailboxAccess;
use super::settings::{AppSettings, PushSettings};
use super::sync::MESSAGES;
use super::wire::Push;
use super::{SLUG, descriptor};
use crate::clock::SharedClock;
use crate::config::Reader;
use crate::connectors::headers::single_header;
use crate::connectors::settings::{App, AppReader};
use crate::connectors::{
    Acknowledgement, KeySource, ProviderDescriptor, SyncHint, VerifyError, WebhookOutcome,
    WebhookReceipt, WebhookRequest, WebhookVerifier,
};
use crate::crypto::sha256;
use crate::http::Jwks;

const AUTHORIZATION: &str = "authorization";

/// Headers that verification requires.
pub(super) const REQUIRED_HEADERS: &[&str] = &[AUTHORIZATION];

/// Verifier of pushes, with Google's public keys. It has no secret.
pub struct Webhooks {
    descriptor: ProviderDescriptor,
    pushes: Option<Pushes>,
    clock: SharedClock,
}

/// Verification of pushes: their sender, and the keys that sign its tokens.
pub(super) struct Pushes {
    settings: PushSettings,
    keys: Jwks,
}

impl Pushes {
    pub(super) fn new(settings: PushSettings, clock: SharedClock) -> Self {
        Self {
            keys: Jwks::new(SLUG, settings.keys_url.clone(), clock),
            settings,
        }
    }
}

impl Webhooks {
    /// Reads the settings of verification.
    pub fn from_reader(reader: &mut Reader<'_>, clock: &SharedClock) -> Self {
        let mut reader = AppReader::new(reader);
        let settings = PushSettings::read(&mut reader);
        let access = MailboxAccess::read(&mut reader);
        Self {
            descriptor: descriptor(AppSettings::limits(&mut reader), access),
            pushes: settings.map(|settings| Pushes::new(settings, clock.clone())),
            clock: clock.clone(),
        }
    }
}

#[async_trait]
impl WebhookVerifier for Webhooks {
    fn descriptor(&self) -> &ProviderDescriptor {
        &self.descriptor
    }

    fn is_configured(&self) -> bool {
        self.pushes.is_some()
    }

    fn prepare(&self) {
        if let Some(pushes) = &self.pushes {
            pushes.keys.prepare();
        }
    }

    async fn verify(
        &self,
        request: &WebhookRequest<'_>,
        _: &dyn KeySource,
    ) -> Result<WebhookReceipt, VerifyError> {
        verify(self.pushes.as_ref(), self.clock.now(), request)
    }
}

/// Verifies a push, then reads which mailbox it names.
pub(super) fn verify(
    pushes: Option<&Pushes>,
    now: DateTime<Utc>,
    request: &WebhookRequest<'_>,
) -> Result<WebhookReceipt, VerifyError> {
    let Pushes { settings, keys } = pushes.ok_or(VerifyError::NotConfigured)?;
    let authorization = single_header(request.headers, AUTHORIZATION)?;
    token::verify(settings, keys, authorization, now)?;
    let push = Push::parse(request.body);
    // Without an id, equal bodies are one message.
    let id = push
        .message_id
        .unwrap_or_else(|| hex::encode(sha256(request.body)));
    Ok(WebhookReceipt {
        event: "mailbox.changed".to_owned(),
        dedupe_id: id,
        // A push that names no mailbox is acknowledged, or Pub/Sub would repeat it for days.
        routes: push.address.into_iter().collect(),
        acknowledgement: Acknowledgement::default(),
        handshake: None,
        stored_body: Some(Bytes::new()),
    })
}

/// The outcome of every push: its mailbox is read.
pub(super) fn handle() -> WebhookOutcome {
    WebhookOutcome {
        sync_hint: Some(SyncHint::stream(MESSAGES)),
        ..WebhookOutcome::default()
    }
}

#[cfg(test)]
mod tests;
