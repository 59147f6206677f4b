//! Check that Google's products share: the OAuth client, and the secret of watch channels.

use super::auth::Google;
use crate::connectors::{AppCheckRequest, Finding};

impl Google<'_> {
    /// Checks the OAuth client.
    pub(in crate::connectors) async fn check_app(&self, request: &AppCheckRequest) -> Finding {
        self.check_client(&request.callback_url).await
    }

    /// Checks the OAuth client, and the secret of watch channels.
    pub(in crate::connectors) async fn check_app_with_channels(
        &self,
        request: &AppCheckRequest,
    ) -> Vec<Finding> {
        const SUBJECT: &str = "channels";
        let channels = if self.app.webhook_secrets.is_empty() {
            Finding::warning(
                SUBJECT,
                "no webhook secret is set, so no channel is watched and accounts are polled",
                "Set a random secret as POBLYSH_GOOGLE_WEBHOOK_SECRET (`openssl rand -hex 32`).",
            )
        } else if request.webhook_url.scheme() == "https" {
            Finding::ok(SUBJECT, "channels are watched with a secret of their own")
        } else {
            Finding::warning(
                SUBJECT,
                format!(
                    "Google pushes to https only, not to {}",
                    request.webhook_url
                ),
                "Set POBLYSH_PUBLIC_WEBHOOK_URL to an https URL; until then accounts are polled.",
            )
        };
        vec![self.check_app(request).await, channels]
    }
}
