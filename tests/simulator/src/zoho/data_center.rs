//! Zoho's data centres: hosts of their own, with accounts of their own.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::{Deserialize, Serialize};

/// A data centre, by the name that redirects call its location.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataCenter {
    /// United States.
    Us,
    /// Europe.
    Eu,
    /// India.
    In,
    /// Australia.
    Au,
    /// Japan.
    Jp,
    /// Canada.
    Ca,
    /// Saudi Arabia.
    Sa,
    /// United Kingdom.
    Uk,
    /// China.
    Cn,
}

impl DataCenter {
    /// All data centres; generated accounts take turns in them.
    pub const ALL: [Self; 9] = [
        Self::Us,
        Self::Eu,
        Self::In,
        Self::Au,
        Self::Jp,
        Self::Ca,
        Self::Sa,
        Self::Uk,
        Self::Cn,
    ];

    /// Name in paths and redirects.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Us => "us",
            Self::Eu => "eu",
            Self::In => "in",
            Self::Au => "au",
            Self::Jp => "jp",
            Self::Ca => "ca",
            Self::Sa => "sa",
            Self::Uk => "uk",
            Self::Cn => "cn",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// Time zone of its people, with the offset from UTC in seconds.
    pub(crate) const fn time_zone(self) -> (&'static str, i64) {
        match self {
            Self::Us | Self::Ca => ("America/Phoenix", -7 * 3_600),
            Self::Eu => ("Africa/Lagos", 3_600),
            Self::In => ("Asia/Kolkata", 5 * 3_600 + 1_800),
            Self::Au => ("Australia/Brisbane", 10 * 3_600),
            Self::Jp => ("Asia/Tokyo", 9 * 3_600),
            Self::Sa => ("Asia/Riyadh", 3 * 3_600),
            Self::Uk => ("Atlantic/Reykjavik", 0),
            Self::Cn => ("Asia/Shanghai", 8 * 3_600),
        }
    }
}

/// The data centre of a request, from the parameter `dc` of its path.
impl<S: Send + Sync> FromRequestParts<S> for DataCenter {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, StatusCode> {
        let parameters = RawPathParams::from_request_parts(parts, state).await;
        let parameters = parameters.map_err(|_| StatusCode::NOT_FOUND)?;
        let mut parameters = parameters.iter();
        let name = parameters.find(|(name, _)| *name == "dc");
        name.and_then(|(_, name)| Self::parse(name))
            .ok_or(StatusCode::NOT_FOUND)
    }
}
