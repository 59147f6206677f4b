//! One suite for every provider: the same cases, the same code. A provider that is added is
//! one line here.
//!
//! What a case needs to know of a provider stands in [`provider`]; the cases are in [`cases`].

mod cases;
mod pace;
mod provider;

use provider::Provider;

/// A test per case, for one provider.
macro_rules! suite {
    ($name:ident, $provider:expr, [$($case:ident),* $(,)?]) => {
        mod $name {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $case() {
                    crate::cases::$case(&$provider).await;
                }
            )*
        }
    };
}

/// Every case, for every provider.
macro_rules! suites {
    ($($name:ident: $provider:expr;)*) => {
        $(
            suite!($name, $provider, [
                connecting_reads_the_past_in_pages,
                webhooks_become_signals,
                webhooks_and_polling_agree_on_identity,
                polling_finds_what_no_webhook_told,
                forged_unsigned_and_oversized_deliveries_are_refused_and_change_nothing,
                doubled_late_and_reordered_deliveries_change_nothing,
                a_cursor_that_cannot_be_honoured_becomes_a_bounded_resync,
                a_rate_limit_delays_and_costs_no_try,
                outages_lose_nothing,
                a_run_that_was_given_up_hides_nothing_from_the_next,
                a_foreign_tenant_sees_nothing,
                one_refresh_however_many_workers_ask,
                a_withdrawn_grant_asks_for_a_person_and_an_outage_does_not,
                refused_tokens_end_no_grant,
                connecting_survives_a_token_that_is_accepted_after_seconds,
                disconnecting_ends_everything,
                backfill_and_poll_end_at_default_pace,
            ]);
        )*
    };
}

suites! {
    github: crate::Provider::github();
    slack: crate::Provider::slack();
    jira: crate::Provider::jira();
}
