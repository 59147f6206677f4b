//! Scopes, and the identity of an account in Calendar.

use serde_json::Value;

use super::client::{CALENDARS, EVENTS, call, url};
use super::wire::Calendar;
use crate::connectors::google::{Client, Consent, EMAIL, OPENID, Product};
use crate::connectors::{Access, CallbackOutcome, ConnectorError, NewGrant};
use crate::model::ExternalAccount;

/// Calendar's scopes. Without one of them there is no list of calendars, or nothing to read.
pub(super) const PRODUCT: Product = Product {
    scopes: &[OPENID, EMAIL, EVENTS, CALENDARS],
    needed: &[EVENTS, CALENDARS],
    access: "see your calendars and their events",
};

/// Builds the grant of a consent.
pub(super) fn connect(consent: Consent) -> CallbackOutcome {
    CallbackOutcome::connected(NewGrant {
        account: consent.identity.account(Value::Null),
        tokens: Some(consent.tokens),
        user_token: None,
        scopes: consent.scopes,
        administrator: None,
    })
}

/// Reads the account's current address, which is the id of its primary calendar.
pub(super) async fn describe(
    client: &Client,
    access: &Access,
) -> Result<ExternalAccount, ConnectorError> {
    let call = call(access, "get_primary_calendar", CALENDARS);
    let url = url(client, &["users", "me", "calendarList", "primary"]);
    let response = client.get(&call, url, &[]).await?;
    let calendar: Calendar = response.json()?;
    let mut account = access.account.clone();
    if let Some(address) = calendar.id {
        account.name = address;
    }
    Ok(account)
}
