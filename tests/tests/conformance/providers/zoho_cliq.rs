//! Zoho Cliq.

use serde_json::json;

use crate::pace::Pace;
use crate::provider::{ConnectedAccount, Provider};

pub(crate) fn provider() -> Provider {
    Provider {
        slug: "zoho_cliq",
        // Cliq's pages also state this lower number.
        prepare: |simulator| {
            simulator.change_zoho_cliq(|cliq| {
                if let Some(messages) = cliq.throttles.get_mut("chats/{id}/messages") {
                    messages.per_minute = 10;
                }
            });
        },
        page_requests: "/messages?*fromtime",
        // Chats are read after their lists.
        next_page_requests: "/messages?*fromtime",
        token_requests: "POST /zoho*oauth/v2/token",
        identity_requests: "/api/v2/channels",
        refresh_counter: "zoho.refreshes",
        expire: |account, _| json!({ "expire": account }),
        revoke: Some(|account, _| json!({ "revoke": account })),
        subscriptions: 0,
        connection_webhook: Some(|connected| Box::pin(set_up_webhook(connected))),
        // Zoho issues ten tokens within ten minutes.
        rejected_requests: 8,
        pace: PACE,
    }
}

/// Creates an extension that calls the connection's URL, and registers its public key.
async fn set_up_webhook(connected: &ConnectedAccount<'_>) {
    let system = connected.tenant.system();
    let url = format!(
        "{}/webhooks/zoho_cliq/{}",
        system.ingress, connected.connection
    );
    let extension = json!({ "account": connected.account, "url": url, "chats": true });
    let extension = system.sim("zoho/cliq/extension", extension).await;
    let path = format!("/v1/connections/{}/webhook", connected.connection);
    let key = json!({ "public_key": extension["public_key"] });
    let registered = connected.tenant.post(&path, &key).await;
    assert_eq!(registered["url"], url);
}

/// Five chats, and their threads, of which nine windows can be read per minute.
///
/// Repeated: the lists of channels, of chats, and of the threads of each channel.
const PACE: Pace = Pace {
    configure: |sim| sim.history = 20,
    configure_long: |sim| sim.history = 2_000,
    found_by_polling: &["message.posted", "channel.created"],
    states: 8,
    long_states: 8,
};
