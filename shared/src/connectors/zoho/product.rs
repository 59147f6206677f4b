//! Products of Zoho, as their connectors describe them.

use chrono::TimeDelta;
use url::Url;

use super::data_center::Hosts;
use crate::model::LimitScope;

/// Scope of the person's identity, which every product asks for.
pub(in crate::connectors) const PROFILE: &str = "AaaServer.profile.READ";

/// A product of Zoho.
#[derive(Debug)]
pub(in crate::connectors) struct Product {
    /// Its name for people.
    pub name: &'static str,
    /// The requested scopes, with [`PROFILE`].
    pub scopes: &'static [&'static str],
    /// The scopes without which nothing useful can be read.
    pub needed: &'static [&'static str],
    /// The access that they give, as text for people (`see your mail`).
    pub access: &'static str,
    /// The host of its API.
    pub host: fn(&Hosts) -> &Url,
    /// How long no call is made after Zoho has rejected one for the number of calls.
    ///
    /// Zoho locks what was called too often for some minutes, and does not say until when.
    pub lock: TimeDelta,
    /// The calls that such a lock concerns.
    pub lock_scope: LimitScope,
}
