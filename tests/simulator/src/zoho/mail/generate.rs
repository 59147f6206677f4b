//! Generated mailboxes and activity.

use rand::rngs::StdRng;

use super::ZohoMail;
use super::actions::{ActionParams, Transaction};
use super::content::mix;
use super::folder::FolderType;
use super::mailbox::{Mailbox, Message};
use super::world::World;
use crate::action::{self, ActionOutcome, ActionTime};
use crate::generate::{self, Generated, HISTORY_SECONDS, HistorySize, Mix};

const DAY: i64 = 24 * 3_600;
/// Time before the history in which old mail was received.
const OLD_SECONDS: i64 = 3 * 365 * DAY;

/// Number of messages in a new mailbox.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MailboxSize {
    /// Facts within the history.
    pub(crate) history: usize,
    /// Messages before the history, which are no facts in the ledger.
    pub(crate) old_mails: usize,
}

impl Generated for ZohoMail {
    /// An action is followed by its folder. Only those whose facts views show are in the history.
    const MIX: Mix = Mix {
        in_history: 6,
        counted: &[],
        actions: &[
            ("mail.received", 100),
            ("mail.received Newsletter", 15),
            ("mail.received Notification", 15),
            ("mail.received Projects", 20),
            ("mail.received Clients", 10),
            ("mail.sent", 40),
            ("mail.received Spam", 12),
            ("mail.draft", 10),
            ("mail.read", 30),
            ("mail.moved Projects", 8),
            ("mail.trashed", 8),
            ("mail.deleted", 4),
            ("task.added", 5),
        ],
    };
    const FALLBACK: &'static str = "mail.received";

    fn account_ids(world: &World) -> Vec<String> {
        world.mailboxes.keys().cloned().collect()
    }

    fn rng(world: &mut World) -> &mut StdRng {
        &mut world.rng
    }

    fn perform(
        tx: &mut action::Transaction<'_, Self>,
        account: &str,
        action: &str,
        _container: Option<&String>,
    ) -> Result<ActionOutcome, &'static str> {
        tx.perform(&params(account, action))
    }
}

/// Parameters of an action of the mix.
fn params(account: &str, action: &str) -> ActionParams {
    let (action, folder) = match action.split_once(' ') {
        Some((action, folder)) => (action, Some(folder.to_owned())),
        None => (action, None),
    };
    ActionParams {
        account: account.to_owned(),
        action: action.to_owned(),
        folder,
        ..ActionParams::default()
    }
}

/// Fills a new mailbox.
pub(crate) fn populate(service: &ZohoMail, world: &mut World, owner: &str, size: MailboxSize) {
    let now = service.core.clock.seconds();
    add_old_mails(world.mailbox(owner), size.old_mails, now);
    let history_size = HistorySize {
        facts: size.history,
        fixed_count: None,
    };
    for (at, _, owner) in history_size.schedule(&[owner.to_owned()], now, 120) {
        let action = ZohoMail::MIX.choose_past(None, &mut world.rng);
        let mut tx = Transaction {
            service,
            world,
            when: ActionTime { at, is_live: false },
        };
        generate::perform(&mut tx, owner, action, None);
    }
}

/// Adds messages that are older than any backfill, at even distances and oldest first.
fn add_old_mails(mailbox: &mut Mailbox, count: usize, now: i64) {
    let end = (now - HISTORY_SECONDS - DAY) * 1_000;
    let step = OLD_SECONDS * 1_000 / i64::try_from(count).unwrap_or(i64::MAX).max(1);
    let (inbox, sent) = (
        mailbox.system(FolderType::Inbox),
        mailbox.system(FolderType::Sent),
    );
    for left in (0..i64::try_from(count).unwrap_or(0)).rev() {
        let received = end - step * left;
        let id = mailbox.new_id(received);
        let is_outgoing = mix(id).is_multiple_of(4);
        mailbox.insert(Message {
            id,
            folder: if is_outgoing { sent } else { inbox },
            thread: None,
            received,
            is_read: true,
            is_outgoing,
            fact: None,
            written: None,
        });
    }
}
