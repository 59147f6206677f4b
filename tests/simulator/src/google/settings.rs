//! Settings of the client, the consent, the quotas and the channels that tests may change.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Current settings of the family; the control API shows and changes them.
#[expect(clippy::struct_excessive_bools, reason = "independent switches")]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settings {
    /// Redirect URIs of the OAuth client.
    pub redirect_uris: Vec<String>,
    /// The consent page declines.
    pub deny_authorizations: bool,
    /// Scopes that people untick on the consent page.
    pub withheld_scopes: Vec<String>,
    /// Consents issue no refresh token.
    pub withhold_refresh_tokens: bool,
    /// Lifetime of an access token.
    pub token_seconds: i64,
    /// Lifetime of a grant; `None` has no end.
    pub grant_seconds: Option<i64>,
    /// Maximum number of live refresh tokens of a person; the oldest ends silently.
    pub max_refresh_tokens: usize,
    /// Description in responses with `invalid_grant`.
    pub invalid_grant_text: String,
    /// Error of every request for tokens, such as `server_error`.
    pub token_error: Option<String>,
    /// Units per minute, by the provider's slug.
    pub quotas: BTreeMap<String, UnitQuota>,
    /// Units of methods that differ from the default, by the method's id.
    pub units: BTreeMap<String, u64>,
    /// Status of a response that refuses for a quota: 403 or 429.
    pub quota_status: u16,
    /// `Retry-After` of such a response.
    pub quota_retry_after: Option<u64>,
    /// Gmail states the end of the wait in the text, with status 429.
    pub quota_retry_text: bool,
    /// Accept addresses of channels without TLS on the loopback interface.
    pub loopback_addresses: bool,
    /// The `sync` message arrives before the response to the watch request.
    pub sync_before_answer: bool,
    /// Changes within this time after the first one share a message.
    pub coalesce_milliseconds: u64,
    /// Longest lifetime of new channels; `None` is that of their kind.
    pub max_channel_seconds: Option<i64>,
    /// A stopped channel sends one more message.
    pub late_message: bool,
    /// Delays before the retries of a message, in seconds.
    pub retry_seconds: Vec<f64>,
}

/// Units per minute; `None` is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitQuota {
    /// Units of the client's project.
    pub project_per_minute: Option<u64>,
    /// Units of each person.
    pub user_per_minute: Option<u64>,
}

impl UnitQuota {
    /// Quota of a slug for projects that began after 2026-05-01.
    fn of_new_project(project: u64, user: u64) -> Self {
        Self {
            project_per_minute: Some(project),
            user_per_minute: Some(user),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        let quotas = [
            ("gmail", UnitQuota::of_new_project(1_200_000, 6_000)),
            ("google_calendar", UnitQuota::of_new_project(10_000, 600)),
            (
                "google_drive",
                UnitQuota::of_new_project(1_000_000, 325_000),
            ),
        ];
        Self {
            redirect_uris: Vec::new(),
            deny_authorizations: false,
            withheld_scopes: Vec::new(),
            withhold_refresh_tokens: false,
            token_seconds: 3_599,
            grant_seconds: None,
            max_refresh_tokens: 100,
            invalid_grant_text: "Token has been expired or revoked.".to_owned(),
            token_error: None,
            quotas: quotas.map(|(slug, quota)| (slug.to_owned(), quota)).into(),
            units: BTreeMap::new(),
            quota_status: 403,
            quota_retry_after: None,
            quota_retry_text: false,
            loopback_addresses: true,
            sync_before_answer: false,
            coalesce_milliseconds: 50,
            max_channel_seconds: None,
            late_message: false,
            retry_seconds: vec![0.5, 1.0, 2.0, 4.0],
        }
    }
}
