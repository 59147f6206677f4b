//! Quotas in units per minute, of each person and of the client's project.

use std::collections::{HashMap, VecDeque};

use axum::http::StatusCode;
use serde_json::json;

use super::error::ApiError;
use super::settings::Settings;
use crate::clock;

const WINDOW_SECONDS: i64 = 60;

/// Names of the quotas in the usage statistics.
pub(crate) const USER: &str = "user";
pub(crate) const PROJECT: &str = "project";

/// Used units within the last minute.
#[derive(Default)]
struct Window {
    /// Second and units.
    used: VecDeque<(i64, u64)>,
    sum: u64,
}

impl Window {
    fn sum(&mut self, now: i64) -> u64 {
        while let Some((second, units)) = self.used.front().copied() {
            if now - second < WINDOW_SECONDS {
                break;
            }
            self.used.pop_front();
            self.sum -= units;
        }
        self.sum
    }

    fn add(&mut self, now: i64, units: u64) {
        self.sum += units;
        match self.used.back_mut() {
            Some((second, sum)) if *second == now => *sum += units,
            _ => self.used.push_back((now, units)),
        }
    }
}

/// Used units of all providers.
#[derive(Default)]
pub(crate) struct Quotas {
    /// By slug, and by person or `None` for the project.
    windows: HashMap<(&'static str, Option<String>), Window>,
}

/// A request that is charged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Charge<'a> {
    pub(crate) source: &'static str,
    /// Host name of the service, such as `drive.googleapis.com`.
    pub(crate) service: &'a str,
    pub(crate) sub: &'a str,
    pub(crate) units: u64,
    pub(crate) project_number: &'a str,
}

impl Quotas {
    /// Charges a request, or refuses it without charge.
    pub(crate) fn charge(
        &mut self,
        charge: Charge<'_>,
        settings: &Settings,
        now: i64,
    ) -> Result<(), ApiError> {
        let Some(quota) = settings.quotas.get(charge.source) else {
            return Ok(());
        };
        let limits = [
            (
                Some(charge.sub.to_owned()),
                quota.user_per_minute,
                "PerUser",
                " per user",
            ),
            (None, quota.project_per_minute, "PerProject", ""),
        ];
        for (who, limit, name, text) in &limits {
            let window = self.window(charge.source, who.clone());
            if let Some(limit) = limit
                && window.sum(now) + charge.units > *limit
            {
                return Err(refusal(charge, settings, (name, text, *limit), now));
            }
        }
        for (who, ..) in limits {
            self.window(charge.source, who).add(now, charge.units);
        }
        Ok(())
    }

    fn window(&mut self, source: &'static str, who: Option<String>) -> &mut Window {
        self.windows.entry((source, who)).or_default()
    }

    /// Resets the used units of a provider.
    pub(crate) fn reset(&mut self, source: &str) {
        self.windows.retain(|(of, _), _| *of != source);
    }
}

/// Response of a request beyond a quota.
fn refusal(
    charge: Charge<'_>,
    settings: &Settings,
    (name, text, limit): (&str, &str, u64),
    now: i64,
) -> ApiError {
    if settings.quota_retry_text && charge.source == "gmail" {
        let end = clock::iso(now + WINDOW_SECONDS).replace('Z', ".000Z");
        let message = format!("User-rate limit exceeded.  Retry after {end}");
        return ApiError::new(StatusCode::TOO_MANY_REQUESTS, "rateLimitExceeded", message)
            .domain("usageLimits")
            .canonical("RESOURCE_EXHAUSTED");
    }
    let Charge {
        service,
        project_number,
        ..
    } = charge;
    let message = format!(
        "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute{text}' of service \
         '{service}' for consumer 'project_number:{project_number}'."
    );
    let detail = json!({
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "RATE_LIMIT_EXCEEDED", "domain": "googleapis.com",
        "metadata": {
            "quota_limit": format!("defaultPerMinute{name}"), "service": service,
            "consumer": format!("projects/{project_number}"), "quota_location": "global",
            "quota_metric": format!("{service}/default"),
            "quota_limit_value": limit.to_string(),
        },
    });
    let help = json!({
        "@type": "type.googleapis.com/google.rpc.Help",
        "links": [{
            "description": "Request a higher quota limit.",
            "url": "https://cloud.google.com/docs/quota#requesting_higher_quota",
        }],
    });
    let status = StatusCode::from_u16(settings.quota_status).unwrap_or(StatusCode::FORBIDDEN);
    let canonical = match status {
        StatusCode::TOO_MANY_REQUESTS => "RESOURCE_EXHAUSTED",
        _ => "PERMISSION_DENIED",
    };
    ApiError::new(status, "rateLimitExceeded", message)
        .domain("usageLimits")
        .canonical(canonical)
        .detail(detail)
        .detail(help)
        .retry_after(settings.quota_retry_after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::google::settings::UnitQuota;

    #[test]
    fn quota_rejects_beyond_a_sliding_minute() {
        let mut settings = Settings::default();
        let quota = UnitQuota {
            project_per_minute: Some(25),
            user_per_minute: Some(20),
        };
        settings.quotas.insert("gmail".to_owned(), quota);
        let mut quotas = Quotas::default();
        let mut allows = |sub: &str, units: u64, now: i64| {
            let charge = Charge {
                source: "gmail",
                service: "gmail.googleapis.com",
                sub,
                units,
                project_number: "1",
            };
            quotas.charge(charge, &settings, now).is_ok()
        };
        assert!(allows("a", 15, 0));
        assert!(!allows("a", 10, 30), "the person's units");
        assert!(!allows("b", 15, 30), "the project's units");
        assert!(allows("b", 10, 30));
        assert!(!allows("a", 15, 59));
        assert!(allows("a", 15, 60));
    }
}
