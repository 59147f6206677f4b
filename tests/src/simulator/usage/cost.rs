//! What an account's requests cost, and how near that is to the limits.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use serde::Serialize;

/// Use of one limit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LimitUsage {
    /// Requests or points that were used.
    pub used: u64,
    /// Requests or points per window; `None` where no limit is kept.
    pub quota: Option<u64>,
    /// Length of the window.
    pub window_seconds: Option<u32>,
    /// What the limit would have allowed since the first request: the quota over the time.
    pub allowed: Option<f64>,
}

/// What an account's requests cost.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Usage {
    /// Requests that arrived.
    pub requests: u64,
    /// Requests or points that were charged to the quota.
    pub charged: u64,
    /// Requests that were answered 304.
    pub not_modified: u64,
    /// Requests that a limit refused.
    pub refused: u64,
    /// Charged requests whose answer the caller had already.
    pub repeated: u64,
    /// The same by endpoint.
    pub repeated_routes: BTreeMap<String, u64>,
    /// The same as `repeated`, but sent with a token that had not asked before.
    pub recharged: u64,
    /// Time since the first request.
    pub elapsed_seconds: f64,
    /// Use of each limit, by its name.
    pub limits: BTreeMap<String, LimitUsage>,
}

impl LimitUsage {
    /// How much of what it allowed was used.
    pub fn share(&self) -> Option<f64> {
        let allowed = self.allowed.filter(|allowed| *allowed > 0.0)?;
        Some(float(self.used) / allowed)
    }

    /// How long what was used takes at the least.
    pub fn least_seconds(&self) -> Option<f64> {
        let windows = float(self.used) / float(self.quota.filter(|quota| *quota > 0)?);
        Some(windows * f64::from(self.window_seconds?))
    }
}

impl Usage {
    /// The limit of which most was used, and its name.
    pub fn tightest(&self) -> Option<(&str, &LimitUsage)> {
        let limits = self
            .limits
            .iter()
            .filter(|(_, limit)| limit.share().is_some());
        let tightest = limits.max_by(|(_, one), (_, other)| {
            let [one, other] = [one, other].map(|limit| limit.share().unwrap_or_default());
            one.total_cmp(&other)
        });
        tightest.map(|(name, limit)| (name.as_str(), limit))
    }
}

/// What the requests cost, and what they took of the tightest limit.
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
        write!(f, ", {used} of {allowed:.0} that {name} allowed")
    }
}

#[expect(clippy::cast_precision_loss, reason = "quotas and counts are small")]
pub(super) const fn float(count: u64) -> f64 {
    count as f64
}
