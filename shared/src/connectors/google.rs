//! Shared parts of Google's products: OAuth client, errors, quotas, and watch channels.
//!
//! A product is a connector of its own (`google_drive`), and uses the family so:
//!
//! 1. Its `App::read` returns a `GoogleApp`, and its `App::limits` calls `limits` with the
//!    product's quotas, in Google's units per minute.
//! 2. It makes calls with a `Client`. A `Call` names the operation, its cost in units, and the
//!    scope it needs; errors are mapped by the family. `ApiError::code` is Google's reason.
//! 3. It states its scopes as a `Product`. `Google` has the authorization steps: a `Consent`
//!    has the tokens, the granted scopes and the person. The account's `stable_id` is the `sub`.
//! 4. A stream with push has a subscription whose resource is the stream's key. `watch` creates
//!    the channel, `stop` ends it; `renew` is `Renewal::Replaced` of another `watch`.
//! 5. Its `Webhooks` is `ChannelWebhooks`, its `verify_webhook` and `handle_webhook` call
//!    `verify_push` and `handle_push`. A push only wakes up its stream.
//!
//! A product without channels (Gmail) leaves out 4 and 5.
//!
//! The methods of the products that only call the family stay: they are the summary of a connector,
//! and each product leaves out or replaces some of them.

mod app_check;
mod auth;
mod channels;
mod client;
mod settings;
mod timestamp;
mod webhook;

use std::time::Duration;

pub use settings::{GoogleApp, Hosts};
pub use webhook::ChannelWebhooks;

pub(super) use auth::{Consent, EMAIL, Google, OPENID, Product};
pub(super) use channels::{Watch, stop, watch};
pub(super) use client::{ApiError, Call, Client};
pub(super) use settings::{Quota, api_base, limits};
pub(super) use timestamp::Timestamp;
pub(super) use webhook::{
    MAX_PUSH_BYTES, REQUIRED_HEADERS, STORED_HEADERS, handle_push, verify_push,
};

use super::{RenewalTime, SubscriptionAddress, SubscriptionIds, SubscriptionPolicy, TokenPolicy};

/// Policy of Google's tokens: they live an hour, and a refresh token outlives later consents.
pub(super) const TOKENS: TokenPolicy = TokenPolicy {
    refresh_before: Duration::from_mins(5),
    quota: None,
    keeps_refresh_token: true,
    // A revocation ends the person's whole grant.
    revokes_one_consent: false,
};

/// Policy of watch channels, which are never extended.
pub(super) const CHANNELS: SubscriptionPolicy = SubscriptionPolicy {
    is_listed: false,
    ids: SubscriptionIds::Planned,
    address: SubscriptionAddress::App,
    renewal: RenewalTime::AfterPart(0.8),
    alert_before: Duration::from_mins(10),
};

#[cfg(test)]
pub(super) mod tests;
