//! Secrets, time, account and directory of the inputs, the same for every provider.

use chrono::{DateTime, Utc};
use serde_json::json;
use shared::model::{DirectoryEntry, DirectoryKey, ExternalAccount};

/// Webhook secrets: the current and the previous one.
pub const WEBHOOK_SECRETS: [&str; 2] = ["the-present-secret", "the-former-secret"];
/// Client secrets, which may also sign the tokens of subscriptions.
pub const CLIENT_SECRETS: [&str; 2] = ["the-present-client-secret", "the-former-client-secret"];
/// The constant time of all targets, in seconds since 1970.
pub const NOW: i64 = 1_700_000_100;

/// [`NOW`] as a time.
pub fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(NOW, 0).expect("a timestamp")
}

/// Account with the settings of every provider.
pub fn account() -> ExternalAccount {
    ExternalAccount {
        id: "T0ACME".to_owned(),
        name: "acme".to_owned(),
        stable_id: "T0ACME".to_owned(),
        settings: json!({
            "url": "https://acme.example.com/",
            "bot_user_id": "U0BOT",
            "installer_id": "U0ADA",
            "organization": false,
            "time_zone": "America/Los_Angeles",
            "account_id": "712020:ada",
            "permission_id": "07001",
            "data_center": "us",
            "zuid": "1001",
            "organization_id": "64800112",
        }),
    }
}

/// Directory entry for a key; a third of the keys has no name.
pub fn directory_entry(key: DirectoryKey) -> DirectoryEntry {
    match key.id.len() % 3 {
        0 => DirectoryEntry::nameless(key),
        length => DirectoryEntry {
            name: Some(format!("the name of {}", key.id)),
            detail: json!({
                "is_bot": length == 1,
                "category": if length == 1 { "done" } else { "new" },
                "summary": "The valve leaks",
                "project": { "id": "10001", "key": "ENG", "name": "Engineering" },
            }),
            key,
        },
    }
}
