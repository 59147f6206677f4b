//! Authorization: Zoho's consent, and a probe of what it gives access to.
//!
//! Zoho grants scopes that Cliq then rejects. So the cheapest call of each scope is made before the
//! connection exists; a rejected scope counts as one that was not granted, and its calls are not
//! made.

use chrono::TimeDelta;
use serde_json::json;

use super::client::{CHANNELS, CHATS, CliqClient, MESSAGES, USERS};
use super::wire::{Channel, Chat, read_row};
use super::{SLUG, ZohoCliq};
use crate::connectors::zoho::{PROFILE, Product, Zoho, zuid};
use crate::connectors::{
    Access, Callback, CallbackOutcome, ConnectorError, MissingScope, NewGrant, with_new_token,
};
use crate::http::Priority;
use crate::model::{ExternalAccount, LimitScope};

/// Cliq. Each endpoint is locked by itself, for five or ten minutes.
pub(super) static PRODUCT: Product = Product {
    name: "Cliq",
    scopes: &[CHANNELS, CHATS, MESSAGES, USERS, PROFILE],
    // The probe decides.
    needed: &[],
    access: "see your channels, chats and messages",
    host: |hosts| &hosts.cliq,
    lock: TimeDelta::minutes(10),
    lock_scope: LimitScope::Operation,
};

/// Name of the organization's id in an account's settings.
const ORGANIZATION: &str = "organization_id";
/// Name of the rejected scopes in an account's settings.
const REJECTED: &str = "rejected_scopes";

/// The family's authorization for this connector.
pub(super) fn zoho(cliq: &ZohoCliq) -> Zoho<'_> {
    Zoho {
        app: &cliq.app.zoho,
        client: &cliq.client,
        product: &PRODUCT,
    }
}

/// The id of the account's organization, if it is known.
pub(super) fn organization(account: &ExternalAccount) -> Option<&str> {
    account.settings[ORGANIZATION].as_str()
}

/// Whether the scope was withheld, or rejected when the account was connected.
pub(super) fn is_rejected(account: &ExternalAccount, scope: &str) -> bool {
    let rejected = account.settings[REJECTED].as_array();
    rejected.is_some_and(|rejected| rejected.iter().any(|one| one.as_str() == Some(scope)))
}

/// Result of the calls of a probe.
#[derive(Debug, Default)]
struct Probe {
    /// Scopes that were withheld, or are rejected.
    rejected: Vec<&'static str>,
    /// Whether a list can be read.
    is_useful: bool,
    organization: Option<String>,
}

impl Probe {
    /// Notes the result of the call that needs a scope.
    fn take<T>(
        &mut self,
        scope: &'static str,
        result: Result<T, ConnectorError>,
    ) -> Result<Option<T>, ConnectorError> {
        match result {
            Ok(found) => Ok(Some(found)),
            Err(ConnectorError::Denied { source, .. }) => {
                if source.downcast_ref::<MissingScope>().is_some() {
                    self.rejected.push(scope);
                }
                Ok(None)
            }
            // After a lock or an outage the first sync checks the scope.
            Err(ConnectorError::RateLimited { .. } | ConnectorError::Transient(_)) => {
                self.is_useful |= scope == CHANNELS || scope == CHATS;
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }
}

/// Handles a callback: exchanges the code and probes the granted scopes.
pub(super) async fn exchange_token(
    cliq: &ZohoCliq,
    callback: &Callback,
) -> Result<CallbackOutcome, ConnectorError> {
    let mut consent = match zoho(cliq).exchange(callback).await {
        Ok(consent) => consent,
        Err(end) => return end,
    };
    let access = Access {
        account: consent.account.clone(),
        token: consent.tokens.access_token.clone(),
        user_token: None,
    };
    let client = CliqClient {
        client: &cliq.client,
        access: &access,
        priority: Priority::Immediate,
    };
    let granted = &consent.scopes;
    let found = match with_new_token(|| Box::pin(probe(client, granted))).await {
        Ok(found) => found,
        Err(error) => return Ok(consent.failed(error)),
    };
    if !found.is_useful {
        let reason = match &found.rejected[..] {
            [] => "This Zoho account cannot read Cliq. Choose another account, or ask your \
                   administrator."
                .to_owned(),
            scopes => format!(
                "Zoho rejects the permissions {}. Connect again and accept every permission on \
                 Zoho's page.",
                scopes.join(", ")
            ),
        };
        return Ok(CallbackOutcome::rejected(reason, consent.into_grant()));
    }
    if !found.rejected.is_empty() {
        tracing::warn!(
            provider = SLUG,
            account.id = consent.account.id,
            scopes = ?found.rejected,
            "scopes are withheld or rejected, a part of the account cannot be read"
        );
    }
    consent
        .scopes
        .retain(|scope| !found.rejected.contains(&scope.as_str()));
    if let Some(organization) = found.organization {
        consent.account.settings[ORGANIZATION] = json!(organization);
    }
    consent.account.settings[REJECTED] = json!(found.rejected);
    Ok(CallbackOutcome::connected(NewGrant {
        account: consent.account,
        tokens: Some(consent.tokens),
        user_token: None,
        scopes: consent.scopes,
        administrator: None,
    }))
}

/// Makes the cheapest call of each scope.
async fn probe(client: CliqClient<'_>, granted: &[String]) -> Result<Probe, ConnectorError> {
    let mut found = Probe::default();
    let is_granted = |scope: &str| granted.iter().any(|granted| granted == scope);
    let missing = [CHANNELS, CHATS, MESSAGES, USERS].into_iter();
    found
        .rejected
        .extend(missing.filter(|scope| !is_granted(scope)));

    let mut chat = None;
    if is_granted(CHANNELS) {
        let page = client.list_channels(1, None).await;
        if let Some(page) = found.take(CHANNELS, page)? {
            found.is_useful = true;
            let channels = page.channels.unwrap_or_default();
            let channel: Option<Channel> = channels.first().and_then(|raw| read_row(raw).ok());
            let mut channel = channel.unwrap_or_default();
            chat = channel.chat_id.take();
            found.organization = channel.organization();
        }
    }
    if is_granted(CHATS) {
        let page = client.list_chats(1, None, None).await;
        if let Some(page) = found.take(CHATS, page)? {
            found.is_useful = true;
            let chats = page.chats.unwrap_or_default();
            let first: Option<Chat> = chats.first().and_then(|raw| read_row(raw).ok());
            chat = chat.or_else(|| first?.id);
        }
    }
    if let (Some(chat), true) = (chat, is_granted(MESSAGES)) {
        let now = client.client.now().timestamp_millis();
        let page = client.list_messages(&chat, (now, now), 1).await;
        found.take(MESSAGES, page)?;
    }
    if let (Some(user), true) = (zuid(&client.access.account), is_granted(USERS)) {
        let user = client.get_user(user).await;
        let user = found.take(USERS, user)?.unwrap_or_default();
        found.organization = user.organization_id.or(found.organization.take());
    }
    Ok(found)
}
