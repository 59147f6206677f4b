//! The queue: order, leases, fencing, fairness, outcomes.
//!
//! A case is written once for every implementation of the queue, and an implementation is one line
//! below. [`postgres`] has the promises that only a queue in Postgres keeps.

mod attempts;
mod claims;
mod fixture;
mod leases;
mod postgres;
mod requests;

use fixture::Fixture;

/// Generates a test per case for one implementation.
macro_rules! suite {
    ($name:ident, $fixture:path, [$($module:ident::$case:ident),* $(,)?]) => {
        mod $name {
            use super::{Fixture, attempts, claims, leases, requests};

            $(
                #[tokio::test]
                async fn $case() {
                    $module::$case(&$fixture().await).await;
                }
            )*
        }
    };
}

/// Generates all cases for all implementations.
macro_rules! suites {
    ($($name:ident: $fixture:path;)*) => {
        $(
            suite!($name, $fixture, [
                attempts::completed_attempt_resets_lost_attempts,
                attempts::interruptions_are_limited_and_cost_no_attempt,
                attempts::job_is_dead_lettered_after_max_attempts,
                attempts::permanent_error_dead_letters_job_immediately,
                attempts::rate_limit_snoozes_job_without_costing_attempt,
                claims::claims_follow_priority_and_age,
                claims::concurrent_claims_return_each_job_once,
                claims::cursor_window_has_at_most_one_job,
                claims::large_queue_of_tenant_does_not_delay_others,
                claims::notification_reaches_listening_workers,
                claims::saturated_tenants_are_not_claimed,
                claims::work_classes_are_claimed_separately,
                leases::completion_after_lost_lease_changes_nothing,
                leases::drained_worker_releases_its_jobs,
                leases::job_lost_eleven_times_is_dead_lettered,
                leases::lease_unknown_to_its_worker_is_rescued,
                leases::lost_lease_is_not_verified,
                leases::payload_of_running_job_can_be_replaced,
                requests::cancelled_job_runs_no_more,
                requests::dead_job_is_retried_once,
                requests::jobs_are_counted_by_state,
                requests::jobs_are_listed_newest_first,
            ]);
        )*
    };
}

suites! {
    in_postgres: Fixture::postgres;
    in_memory: Fixture::memory;
}
