//! Authorization: Google's consent, and the mailbox that it gives access to.

use serde_json::json;

use super::Gmail;
use super::client::MailboxClient;
use crate::connectors::google::Google;
use crate::connectors::{
    Access, Callback, CallbackOutcome, ConnectorError, NewGrant, with_new_token,
};
use crate::http::Priority;
use crate::model::ExternalAccount;

/// Name of the mailbox's address in the account's settings.
const ADDRESS: &str = "address";

/// The mailbox's address, as Google spells it.
pub(super) fn address(account: &ExternalAccount) -> &str {
    account.settings[ADDRESS].as_str().unwrap_or(&account.name)
}

/// The same account with this address, which an administrator may change.
fn with_address(account: &ExternalAccount, address: String) -> ExternalAccount {
    let mut account = account.clone();
    if !account.settings.is_object() {
        account.settings = json!({});
    }
    account.settings[ADDRESS] = json!(address);
    account.name = address;
    account
}

/// The family's authorization for this connector.
pub(super) fn google(gmail: &Gmail) -> Google<'_> {
    Google {
        app: &gmail.app.google,
        client: &gmail.client,
        product: gmail.app.access.product(),
    }
}

/// Handles a callback: exchanges the code and reads the mailbox's address.
pub(super) async fn exchange_token(
    gmail: &Gmail,
    callback: &Callback,
) -> Result<CallbackOutcome, ConnectorError> {
    let consent = match google(gmail).exchange(callback).await {
        Ok(consent) => consent,
        Err(end) => return end,
    };
    let access = Access {
        account: consent.identity.account(json!({})),
        token: consent.tokens.access_token.clone(),
        user_token: None,
    };
    let described = with_new_token(|| Box::pin(describe(gmail, &access))).await;
    let account = match described {
        Ok(account) => account.unwrap_or(access.account),
        Err(ConnectorError::Denied { .. }) => {
            return Ok(CallbackOutcome::rejected(
                "This Google account has no Gmail mailbox that the app may read. Choose another \
                 account, or ask your administrator.",
                consent.into_grant(),
            ));
        }
        Err(error) => return consent.failed(error),
    };
    Ok(CallbackOutcome::connected(NewGrant {
        account,
        tokens: Some(consent.tokens),
        user_token: None,
        scopes: consent.scopes,
        administrator: None,
    }))
}

/// The account with the mailbox's present address.
pub(super) async fn describe(
    gmail: &Gmail,
    access: &Access,
) -> Result<Option<ExternalAccount>, ConnectorError> {
    let profile = mailbox(gmail, access).get_profile().await?;
    Ok(profile
        .address
        .map(|address| with_address(&access.account, address)))
}

/// The mailbox, for calls of immediate priority.
pub(super) fn mailbox<'a>(gmail: &'a Gmail, access: &'a Access) -> MailboxClient<'a> {
    MailboxClient {
        client: &gmail.client,
        scope: gmail.app.access,
        access,
        priority: Priority::Immediate,
        concurrency: gmail.app.limits.account_concurrency,
    }
}
