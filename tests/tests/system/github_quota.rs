//! A large installation at default settings, within the limits that GitHub enforces.
//!
//! Its long form is an hour with 300 repositories and 100,000 facts under a fake clock:
//! `scripts/test --clock-factor 10 github_quota` with `POBLYSH_QUOTA_REPOSITORIES=300`,
//! `POBLYSH_QUOTA_HISTORY=333` and `POBLYSH_QUOTA_SECONDS=3600`. `scripts/test --faults` runs it.

use std::time::Duration;

use tests::harness::large_accounts::{LargeAccount, QuotaUse};
use tests::harness::setting;

/// Maximum time until a fact without a webhook is found.
const MAX_DELAY: Duration = Duration::from_mins(15);

#[tokio::test(flavor = "multi_thread")]
async fn polls_use_little_quota_and_find_lost_facts() {
    let used = QuotaUse::measure(LargeAccount {
        containers: setting("POBLYSH_QUOTA_REPOSITORIES", 12),
        history: setting("POBLYSH_QUOTA_HISTORY", 10),
        // 100,000 in thirty days are 139 per hour.
        facts_per_hour: setting("POBLYSH_QUOTA_FACTS_PER_HOUR", 300),
        polled_for: Duration::from_secs(setting("POBLYSH_QUOTA_SECONDS", 60)),
    })
    .await;
    let first_sync = &used.first_sync;
    assert!(first_sync.has_ended, "{first_sync:#?}");
    // A small installation is read before it reaches the limits.
    if first_sync.usage.elapsed_seconds > 600.0 {
        assert!(used.first_sync_share() >= 0.9, "{first_sync:#?}");
    }
    assert!(used.polls <= 0.3, "{used:#?}");
    assert!(used.worst_delay <= MAX_DELAY, "{:?}", used.worst_delay);
    let usage = &used.usage;
    assert!(usage.refused * 100 <= usage.requests, "{usage:#?}");
}
