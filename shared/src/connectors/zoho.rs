//! Shared parts of Zoho's products: OAuth client, data centers, errors and limits.
//!
//! A product is a connector of its own (`zoho_mail`), and uses the family so:
//!
//! 1. Its `App::read` returns a `ZohoApp`, and its `App::limits` builds its budgets with
//!    `per_minute`.
//! 2. It describes itself as a `Product`: its scopes, its host, and how long Zoho locks it after
//!    too many calls. A lock concerns the calls of its `lock_scope`: with `Operation`, each
//!    operation that has a budget of its own.
//! 3. `Zoho` has the authorization steps: a `Consent` has the tokens, the granted scopes and the
//!    account, whose settings name its data center.
//! 4. It makes calls with a `Client`, which finds the host by the account's data center. A `Call`
//!    names the operation and the scope it needs; errors are mapped by the family.
//!    `ApiError::code` is Zoho's code.
//!
//! Each consent has a refresh token of its own, and a revocation ends that token only. So
//! connections of one person share no grant, and `grant_key` stays `None`.

mod app_check;
mod auth;
mod client;
mod data_center;
mod entities;
mod product;
mod settings;

use std::time::Duration;

pub use data_center::{DataCenter, Hosts};
pub use settings::{Site, ZohoApp};

pub(super) use auth::{Consent, Zoho};
pub(super) use client::{ApiError, Call, Client};
pub(super) use data_center::zuid;
pub(super) use entities::unescape;
pub(super) use product::{PROFILE, Product};
pub(super) use settings::per_minute;

use super::{TokenPolicy, TokenQuota};

/// Policy of Zoho's tokens: they live an hour, and refresh tokens do not expire.
///
/// Zoho refuses an eleventh token of a refresh token within ten minutes. Zoho's pages: "Access
/// Token" and "Token Validity".
pub(super) const TOKENS: TokenPolicy = TokenPolicy {
    refresh_before: Duration::from_mins(5),
    quota: Some(TokenQuota {
        refreshes: 10,
        window: Duration::from_mins(10),
    }),
    keeps_refresh_token: true,
    revokes_one_consent: true,
};

#[cfg(test)]
pub(super) mod tests;
