//! Usage of an account, compared with the providers' limits.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use serde::Serialize;

/// Usage of one limit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LimitUsage {
    /// Requests or points used.
    pub used: u64,
    /// Requests or points per window; `None` if the limit is not enforced.
    pub quota: Option<u64>,
    /// Length of the window.
    pub window_seconds: Option<u32>,
    /// Requests or points that the limit has allowed since the first request.
    pub allowed: Option<f64>,
}

/// Cost of an account's requests.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Usage {
    /// Requests received.
    pub requests: u64,
    /// Requests or points charged to the quota.
    pub charged: u64,
    /// Requests with a 304 response.
    pub not_modified: u64,
    /// Requests that a limit refused.
    pub refused: u64,
    /// Charged requests whose response the caller had received before.
    pub repeated: u64,
    /// `repeated` by endpoint.
    pub repeated_routes: BTreeMap<String, u64>,
    /// Like `repeated`, but sent with a new token.
    pub recharged: u64,
    /// Time since the first request.
    pub elapsed_seconds: f64,
    /// Usage of each limit, by its name.
    pub limits: BTreeMap<String, LimitUsage>,
}

impl LimitUsage {
    /// Used share of the allowance.
    pub fn share(&self) -> Option<f64> {
        let allowed = self.allowed.filter(|allowed| *allowed > 0.0)?;
        Some(float(self.used) / allowed)
    }

    /// Minimum time for the used amount under this limit.
    pub fn min_seconds(&self) -> Option<f64> {
        let windows = float(self.used) / float(self.quota.filter(|quota| *quota > 0)?);
        Some(windows * f64::from(self.window_seconds?))
    }
}

impl Usage {
    /// Limit with the largest used share, and its name.
    pub fn tightest(&self) -> Option<(&str, &LimitUsage)> {
        let limits = self
            .limits
            .iter()
            .filter(|(_, limit)| limit.share().is_some());
        let tightest = limits.max_by(|(_, left), (_, right)| {
            let [left, right] = [left, right].map(|limit| limit.share().unwrap_or_default());
            left.total_cmp(&right)
        });
        tightest.map(|(name, limit)| (name.as_str(), limit))
    }
}

/// Writes all counts and the usage of the tightest limit.
impl Display for Usage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests: {} charged, {} not modified, {} refused, {} repeated {:?}, {} recharged",
            self.requests,
            self.charged,
            self.not_modified,
            self.refused,
            self.repeated,
            self.repeated_routes,
            self.recharged
        )?;
        let Some((name, limit)) = self.tightest() else {
            return Ok(());
        };
        let (used, allowed) = (limit.used, limit.allowed.unwrap_or_default());
        write!(f, ", {used} of {allowed:.0} allowed by {name}")
    }
}

#[expect(clippy::cast_precision_loss, reason = "quotas and counts are small")]
pub(super) const fn float(count: u64) -> f64 {
    count as f64
}
