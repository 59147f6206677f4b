//! Slack, with rotating tokens.

use serde_json::json;
use tests::harness::provider::configure_large_slack_workspace;

use crate::pace::Pace;
use crate::provider::Provider;

pub(crate) fn provider() -> Provider {
    Provider {
        slug: "slack",
        prepare: |simulator| simulator.change_slack(|slack| slack.rotation = true),
        page_requests: "conversations.history",
        next_page_requests: "conversations.replies",
        token_requests: "oauth.v2.access",
        identity_requests: "auth.test",
        refresh_counter: "slack.refreshes",
        expire: |account, _| json!({ "expire": account }),
        revoke: Some(|account, _| json!({ "revoke": account })),
        subscriptions: 0,
        connection_webhook: None,
        rejected_requests: 30,
        pace: PACE,
    }
}

/// 60 channels, whose history takes more than a minute in tier 3.
///
/// Repeated: the bot's channels and all channels.
const PACE: Pace = Pace {
    configure: |sim| {
        sim.history = 4;
        let slack = &mut sim.providers.slack;
        (slack.channels, slack.replies) = (60, Some(1));
    },
    configure_long: configure_large_slack_workspace,
    found_by_polling: &["message.posted", "message.bot", "message.file"],
    states: 2,
    long_states: 2,
};
