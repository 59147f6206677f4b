//! Settings of the Google Drive connector.
//!
//! Drive is configured when the Google client's id and secret are set, like Google's other products.
//! Without the webhook secret no channel is created, and accounts are only polled.

use super::access::DriveAccess;
use super::descriptor;
use crate::connectors::google::{GoogleApp, Quota, limits};
use crate::connectors::settings::{App, AppReader, ProviderSettings};
use crate::connectors::{ProviderDescriptor, RateLimits};

/// Units per minute of a person ("Usage limits" of the Drive API, projects since May 2026).
///
/// Projects that used the API between November 2025 and April 2026 keep their earlier quota, which
/// counts about 12,000 queries per minute.
const USER: Quota = Quota {
    setting: "GOOGLE_DRIVE_USER_UNITS_PER_MINUTE",
    units: 325_000,
};
/// Units per minute of a project.
const PROJECT: Quota = Quota {
    setting: "GOOGLE_DRIVE_UNITS_PER_MINUTE",
    units: 1_000_000,
};

/// Settings of the Google Drive connector.
pub type GoogleDriveSettings = ProviderSettings<AppSettings>;

/// Settings of a Google client that reads Drive.
#[derive(Debug)]
pub struct AppSettings {
    /// The settings that Google's products share.
    pub google: GoogleApp,
    /// The access that people are asked for.
    pub access: DriveAccess,
    /// Limits of rate and concurrency.
    pub limits: RateLimits,
}

impl App for AppSettings {
    const NAME: &'static str = "Google client";

    fn limits(reader: &mut AppReader<'_, '_>) -> RateLimits {
        limits(reader, USER, PROJECT)
    }

    fn read(reader: &mut AppReader<'_, '_>, limits: RateLimits) -> Option<Self> {
        Some(Self {
            google: GoogleApp::read(reader),
            access: DriveAccess::read(reader),
            limits,
        })
    }

    fn descriptor(limits: RateLimits) -> ProviderDescriptor {
        descriptor(limits, DriveAccess::SharedDrives)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::testing::read_settings;
    use crate::model::LimitScope;

    const CLIENT_ID: &str = "GOOGLE_CLIENT_ID";
    const CLIENT_SECRET: &str = "GOOGLE_CLIENT_SECRET";

    fn read(pairs: &[(&str, &str)]) -> Result<GoogleDriveSettings, String> {
        read_settings(pairs)
    }

    #[test]
    fn drive_is_unconfigured_without_settings() {
        assert!(read(&[]).expect("valid").app.is_none());
        let base = read(&[("GOOGLE_API_BASE_URL", "http://localhost:1")]);
        assert!(base.expect("valid").app.is_none());
    }

    #[test]
    fn incomplete_settings_name_the_missing_one() {
        for (set, missing) in [(CLIENT_ID, CLIENT_SECRET), (CLIENT_SECRET, CLIENT_ID)] {
            let error = read(&[(set, "s3cret-of-the-client")]).expect_err("an incomplete app");
            assert!(
                error.contains(&format!("POBLYSH_{missing} is not set")),
                "{error}"
            );
            assert!(!error.contains("s3cret"));
        }
    }

    #[test]
    fn debug_output_hides_secrets() {
        let settings = read(&[
            (CLIENT_ID, "the-client"),
            (CLIENT_SECRET, "s3cret-of-the-client"),
            ("GOOGLE_WEBHOOK_SECRET", "s3cret-of-the-channels"),
        ]);
        let shown = format!("{:?}", settings.expect("valid"));
        assert!(
            shown.contains("the-client") && !shown.contains("s3cret"),
            "{shown}"
        );
    }

    #[test]
    fn limits_stay_below_quotas_in_every_minute() {
        let settings = read(&[("GOOGLE_DRIVE_USER_UNITS_PER_MINUTE", "6000")]).expect("valid");
        for (scope, quota) in [
            (LimitScope::Account, 6_000.0),
            (LimitScope::Provider, 1_000_000.0),
        ] {
            let budgets = settings.limits.budgets.iter();
            let budget = budgets.clone().find(|budget| budget.scope == scope);
            let budget = budget.expect("a budget");
            let in_a_minute = budget.per_second.mul_add(60.0, f64::from(budget.burst));
            assert!(
                in_a_minute <= quota && in_a_minute > 0.99 * quota,
                "{scope:?}"
            );
        }
    }
}
