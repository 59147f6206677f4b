//! Settings of the Google Calendar connector.
//!
//! Calendar is configured when the Google client's id and secret are set, like Google's other
//! products. Without the webhook secret no channel is created, and calendars are only polled.

use super::descriptor;
use crate::connectors::google::{GoogleApp, Quota, limits};
use crate::connectors::settings::{App, AppReader, ProviderSettings};
use crate::connectors::{ProviderDescriptor, RateLimits};

/// Requests per minute of a person.
///
/// Source: "Manage quotas" of the Calendar API, for projects since May 2026.
const USER: Quota = Quota {
    setting: "GOOGLE_CALENDAR_USER_REQUESTS_PER_MINUTE",
    units: 600,
};
/// Requests per minute of a project.
const PROJECT: Quota = Quota {
    setting: "GOOGLE_CALENDAR_REQUESTS_PER_MINUTE",
    units: 10_000,
};

/// Settings of the Google Calendar connector.
pub type GoogleCalendarSettings = ProviderSettings<AppSettings>;

/// Settings of a Google client that reads Calendar.
#[derive(Debug)]
pub struct AppSettings {
    /// The settings that Google's products share.
    pub google: GoogleApp,
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
            limits,
        })
    }

    fn descriptor(limits: RateLimits) -> ProviderDescriptor {
        descriptor(limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::testing::read_settings;
    use crate::model::LimitScope;

    #[test]
    fn calendar_is_configured_with_google_client() {
        let read = |pairs: &[(&str, &str)]| {
            let settings: GoogleCalendarSettings = read_settings(pairs).expect("valid");
            settings.app.is_some()
        };
        assert!(!read(&[]));
        assert!(!read(&[("GOOGLE_CALENDAR_REQUESTS_PER_MINUTE", "100")]));
        assert!(read(&[
            ("GOOGLE_CLIENT_ID", "the-client"),
            ("GOOGLE_CLIENT_SECRET", "the-secret-of-the-client"),
        ]));
    }

    #[test]
    fn person_has_sixtieth_of_quota_per_second() {
        let settings: GoogleCalendarSettings = read_settings::<_, &str>(&[]).expect("valid");
        let budgets = settings.limits.budgets;
        let of_person = budgets
            .iter()
            .find(|budget| budget.scope == LimitScope::Account);
        let of_person = of_person.expect("a budget");
        assert!(of_person.per_second <= 10.0, "600 per minute");
        let in_a_minute = of_person
            .per_second
            .mul_add(60.0, f64::from(of_person.burst));
        assert!(in_a_minute <= 600.0, "{in_a_minute}");
    }
}
