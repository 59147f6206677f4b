//! Conformance suite: the same test cases for every provider.
//!
//! A new provider is a file in `providers/` and a line here. [`cases`] has the cases.

mod cases;
mod example;
mod grants;
mod pace;
mod provider;
mod resync;
mod providers {
    pub(crate) mod github;
    pub(crate) mod gmail;
    pub(crate) mod google_calendar;
    pub(crate) mod google_drive;
    pub(crate) mod jira;
    pub(crate) mod slack;
    pub(crate) mod zoho_cliq;
    pub(crate) mod zoho_mail;
}

/// Generates a test per case for one provider.
macro_rules! suite {
    ($name:ident, [$($case:ident),* $(,)?]) => {
        mod $name {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $case() {
                    crate::cases::$case(&crate::providers::$name::provider()).await;
                }
            )*
        }
    };
}

/// Generates all cases for all providers.
macro_rules! suites {
    ($($name:ident;)*) => {
        $(
            suite!($name, [
                backfill_reads_history_in_pages,
                webhooks_become_signals,
                webhooks_and_polling_agree_on_identity,
                polling_finds_facts_without_webhooks,
                forged_or_oversized_deliveries_change_nothing,
                duplicated_late_and_reordered_deliveries_change_nothing,
                invalid_cursor_causes_bounded_resync,
                rate_limit_delays_without_costing_an_attempt,
                outages_lose_nothing,
                cancelled_run_hides_nothing_from_next_run,
                other_tenant_sees_nothing,
                refresh_is_single_flight_across_workers,
                revoked_grant_requires_reauthorization_but_outage_does_not,
                rejected_tokens_end_no_grant,
                connecting_survives_delayed_token_acceptance,
                disconnecting_ends_everything,
                backfill_and_poll_end_at_default_pace,
            ]);
        )*
    };
}

suites! {
    github;
    slack;
    jira;
    gmail;
    google_drive;
    google_calendar;
    zoho_cliq;
    zoho_mail;
}
