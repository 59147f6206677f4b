//! Normalization of mails to Signals.
//!
//! Lists and deliveries share this pure function, so a mail has the same dedupe key on both paths
//! and in every folder.

use serde_json::json;
use serde_json::value::RawValue;

use super::SLUG;
use super::auth::{account_id, address};
use super::wire::{Mail, WireError};
use crate::connectors::mail_header::Mailbox;
use crate::model::{
    Actor, ActorKind, Context, ContextKind, ExternalAccount, SignalDraft, SignalKind, Subject,
    TimestampSource,
};

/// Kinds of Signals that this connector emits.
pub(super) const KINDS: &[SignalKind] = &[SignalKind::EmailReceived, SignalKind::EmailSent];

/// Normalizes a mail.
pub(super) fn mail(
    account: &ExternalAccount,
    kind: SignalKind,
    mail: &Mail,
    raw: &RawValue,
) -> Result<SignalDraft, WireError> {
    let (id, at) = (mail.id()?, mail.received_at()?);
    let mailbox = account_id(account).ok_or(WireError::Missing("accountId"))?;
    let from = mail.from();
    let signal = SignalDraft {
        kind,
        dedupe_key: format!("{SLUG}:{mailbox}:message:{id}"),
        timestamp: at,
        timestamp_source: TimestampSource::Provider,
        actor: actor(from.as_ref()),
        subject: Subject {
            kind: "email".to_owned(),
            id: id.to_owned(),
            key: None,
            title: mail.subject(),
            // No stable link is documented.
            url: None,
        },
        context: Context {
            kind: ContextKind::Mailbox,
            id: mailbox.to_owned(),
            name: Some(address(account).to_owned()),
        },
        normalized: json!({
            "from": from.map(|Mailbox { address, name }| {
                json!({ "address": address, "name": name })
            }),
            "to": mail.to(),
            "cc": mail.cc(),
            "thread_id": mail.thread,
            "folder": mail.folder,
            "attachment": mail.has_attachment(),
        }),
        raw: raw.to_owned(),
    };
    Ok(signal.cleaned())
}

/// The sender as an actor.
fn actor(sender: Option<&Mailbox>) -> Actor {
    let Some(Mailbox { address, name }) = sender else {
        return Actor::unknown();
    };
    Actor {
        id: address.as_ref().map(|address| address.to_lowercase()),
        name: name.clone(),
        kind: ActorKind::User,
    }
}
