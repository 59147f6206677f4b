//! Zoho Mail.

use serde_json::json;

use crate::pace::Pace;
use crate::provider::{ConnectedAccount, Provider};

pub(crate) fn provider() -> Provider {
    Provider {
        slug: "zoho_mail",
        prepare: |simulator| simulator.change_zoho_mail(|mail| mail.max_page_size = 20),
        page_requests: "messages/view",
        // The second page begins with the last row of the first.
        next_page_requests: "messages/view?*start=20&",
        token_requests: "POST /zoho*oauth/v2/token",
        identity_requests: "/api/accounts",
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

/// Arms the connection's URL and sets up the outgoing webhook in the mailbox.
async fn set_up_webhook(connected: &ConnectedAccount<'_>) {
    let system = connected.tenant.system();
    let path = format!("/v1/connections/{}/webhook", connected.connection);
    let armed = connected.tenant.post(&path, &json!({})).await;
    let webhook = json!({ "account": connected.account, "url": armed["url"] });
    let webhook = system.sim("zoho/mail/webhook", webhook).await;
    assert_eq!(webhook["active"], true, "{webhook}");
}

/// Seven folders, whose lists need at least two of 28 calls per minute each.
///
/// Repeated: the list of folders, and the unchanged list of each.
const PACE: Pace = Pace {
    configure: |sim| sim.history = 200,
    configure_long: |sim| sim.history = 40_000,
    found_by_polling: &["mail.received", "mail.sent"],
    states: 10,
    long_states: 10,
};
