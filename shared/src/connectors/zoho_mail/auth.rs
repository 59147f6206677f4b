//! Authorization: Zoho's consent, and the mailbox that it gives access to.
//!
//! Zoho has granted scopes and then rejected them, so every list is read once before a person is
//! connected.

use serde_json::json;

use super::ZohoMail;
use super::client::{MESSAGES, MailClient, PRODUCT};
use super::wire::{Account, Folder, FolderKind};
use crate::connectors::wire::read_json;
use crate::connectors::zoho::{Consent, Zoho};
use crate::connectors::{
    Access, Callback, CallbackOutcome, ConnectorError, MissingScope, NewGrant, with_new_token,
};
use crate::http::{Priority, with_page_deadline};
use crate::model::ExternalAccount;

/// Name of the mailbox's id in the account's settings.
const ACCOUNT_ID: &str = "account_id";
/// Name of the mailbox's address in the account's settings.
const ADDRESS: &str = "address";

/// The mailbox's id.
pub(super) fn account_id(account: &ExternalAccount) -> Option<&str> {
    account.settings[ACCOUNT_ID].as_str()
}

/// The mailbox's address.
pub(super) fn address(account: &ExternalAccount) -> &str {
    account.settings[ADDRESS].as_str().unwrap_or(&account.name)
}

/// The family's authorization for this connector.
pub(super) fn zoho(mail: &ZohoMail) -> Zoho<'_> {
    Zoho {
        app: &mail.app.zoho,
        client: &mail.client,
        product: &PRODUCT,
    }
}

/// The mailbox's API, for calls of immediate priority.
pub(super) const fn client<'a>(mail: &'a ZohoMail, access: &'a Access) -> MailClient<'a> {
    MailClient {
        client: &mail.client,
        access,
        priority: Priority::Immediate,
    }
}

/// Handles a callback: exchanges the code, finds the mailbox, and tries the granted scopes.
pub(super) async fn exchange_token(
    mail: &ZohoMail,
    callback: &Callback,
) -> Result<CallbackOutcome, ConnectorError> {
    let mut consent = match zoho(mail).exchange(callback).await {
        Ok(consent) => consent,
        Err(end) => return end,
    };
    let access = Access {
        account: consent.account.clone(),
        token: consent.tokens.access_token.clone(),
        user_token: None,
    };
    // Its calls are more than one interval apart, so they wait for the limit.
    let client = client(mail, &access);
    let (probed, _) = with_page_deadline(probe(&client, &consent)).await;
    let probe = match probed {
        Ok(probe) => probe,
        Err(ConnectorError::Denied { source, .. }) => {
            let cause = match source.downcast_ref() {
                Some(MissingScope(scope)) => format!(
                    "Zoho granted the scope {scope} and then rejected it. Connect again; if that \
                     fails too, ask Zoho's support."
                ),
                None => "This Zoho account has no mailbox that the app may read. Choose another \
                         account, or ask your administrator."
                    .to_owned(),
            };
            return Ok(CallbackOutcome::rejected(cause, consent.into_grant()));
        }
        Err(other) => return Ok(consent.failed(other)),
    };
    if !probe.reads_mails {
        consent.scopes.retain(|scope| scope != MESSAGES);
    }
    let account = with_mailbox(consent.account, &probe.mailbox, &probe.id);
    Ok(CallbackOutcome::connected(NewGrant {
        account,
        tokens: Some(consent.tokens),
        user_token: None,
        scopes: consent.scopes,
        administrator: None,
    }))
}

/// The access that a new grant gives.
struct Probe {
    id: String,
    mailbox: Account,
    /// Whether the list of mails was read.
    reads_mails: bool,
}

/// Reads each list once.
///
/// # Errors
///
/// [`ConnectorError::Denied`] without a mailbox or without its folders: nothing could be read.
async fn probe(client: &MailClient<'_>, consent: &Consent) -> Result<Probe, ConnectorError> {
    let accounts = with_new_token(|| Box::pin(client.list_accounts())).await?;
    let accounts = accounts.rows.iter();
    let accounts = accounts.filter_map(|row| read_json::<Account>(row.get()).ok());
    let mailbox = choose(accounts.collect(), &consent.account.name);
    let none = || ConnectorError::denied("the person has no mailbox");
    let mailbox = mailbox.ok_or_else(none)?;
    let id = mailbox.id.clone().ok_or_else(none)?;
    let folders = client.list_folders(&id).await?;
    let folders = folders
        .rows
        .iter()
        .filter_map(|row| Folder::parse(row).ok());
    let mut folders: Vec<(String, FolderKind)> = folders.collect();
    folders.sort_by_key(|(_, kind)| *kind);
    let is_granted = consent.scopes.iter().any(|scope| scope == MESSAGES);
    let reads_mails = match folders.first() {
        Some((folder, _)) if is_granted => is_readable(client, &id, folder).await,
        _ => is_granted,
    };
    Ok(Probe {
        id,
        mailbox,
        reads_mails,
    })
}

/// Whether the scope of mails is accepted.
///
/// After another failure, such as an outage, the first sync checks it.
async fn is_readable(client: &MailClient<'_>, account: &str, folder: &str) -> bool {
    match client.list_messages(account, folder, 1, 1).await {
        Err(ConnectorError::Denied { source, .. }) if source.is::<MissingScope>() => {
            tracing::warn!(scope = MESSAGES, "scope rejected after it was granted");
            false
        }
        _ => true,
    }
}

/// The mailbox with the person's address, or else the first one.
///
/// The others are accounts elsewhere that Zoho collects mail from.
fn choose(mut accounts: Vec<Account>, address: &str) -> Option<Account> {
    accounts.retain(|account| account.id.is_some());
    let mut known = accounts.iter();
    let own = known.position(|account| account.has_address(address));
    let chosen = own.unwrap_or_default();
    (chosen < accounts.len()).then(|| accounts.swap_remove(chosen))
}

/// The account with its mailbox.
fn with_mailbox(mut account: ExternalAccount, mailbox: &Account, id: &str) -> ExternalAccount {
    account.settings[ACCOUNT_ID] = json!(id);
    if let Some(address) = mailbox.address() {
        account.settings[ADDRESS] = json!(address);
        address.clone_into(&mut account.name);
    }
    account
}
