//! Generated mailboxes and activity.

use std::sync::Arc;

use rand::RngExt;
use rand::seq::IndexedRandom;
use tokio_util::sync::CancellationToken;

use super::Gmail;
use super::actions::{ActionParams, ActionTime, Transaction};
use super::id::mix;
use super::labels::Labels;
use super::mailbox::{Mailbox, Message};
use super::world::World;
use crate::generate::{HISTORY_SECONDS, HistorySize, Mix, run_at_random};

const DAY: i64 = 24 * 3_600;
/// Time before the history in which old mail was received.
const OLD_SECONDS: i64 = 3 * 365 * DAY;
/// Newest messages of which an old one may continue the thread.
const MAX_ANSWERED: usize = 50;

/// Actions of a mailbox. Only those whose facts the list of messages shows are in the history.
const MIX: Mix = Mix {
    in_history: 6,
    counted: &[],
    actions: &[
        ("mail.received", 100),
        ("mail.received list", 20),
        ("mail.received archived", 15),
        ("mail.received answer", 20),
        ("mail.sent", 40),
        ("mail.to_self", 3),
        ("mail.received spam", 12),
        ("mail.draft", 12),
        ("mail.draft_sent", 6),
        ("mail.labelled", 12),
        ("mail.read", 30),
        ("mail.archived", 10),
        ("mail.trashed", 8),
        ("mail.deleted", 4),
        ("chat.received", 3),
    ],
};

/// Number of messages in a new mailbox.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MailboxSize {
    /// Facts within the history.
    pub(crate) history: usize,
    /// Messages before the history, which are no facts in the ledger.
    pub(crate) old_mails: usize,
}

/// Fills a new mailbox.
pub(crate) fn populate(
    service: &Gmail,
    world: &mut World,
    owner: &str,
    size: MailboxSize,
    now: i64,
) {
    if let Some(mailbox) = world.mailboxes.get_mut(owner) {
        add_old_mails(mailbox, size.old_mails, now);
    }
    let history_size = HistorySize {
        facts: size.history,
        fixed_count: None,
    };
    for (at, _, owner) in history_size.schedule(&[owner.to_owned()], now, 120) {
        let when = ActionTime { at, is_live: false };
        let action = MIX.choose_past(None, &mut world.rng);
        let mut transaction = Transaction::new(service, world, when);
        perform_or_receive(&mut transaction, owner, action);
    }
    // A new mailbox has no watch.
    if let Some(mailbox) = world.mailboxes.get_mut(owner) {
        mailbox.take_unpublished();
    }
}

/// Adds messages that are older than any backfill, at even distances and oldest first.
fn add_old_mails(mailbox: &mut Mailbox, count: usize, now: i64) {
    let end = (now - HISTORY_SECONDS - DAY) * 1_000;
    let step = OLD_SECONDS * 1_000 / i64::try_from(count).unwrap_or(i64::MAX).max(1);
    let mut newest: Vec<u64> = Vec::new();
    let history_id = mailbox.history_id();
    for left in (0..i64::try_from(count).unwrap_or(0)).rev() {
        let date = end - step * left;
        let id = mailbox.new_id(date);
        let bits = mix(id);
        let labels = match bits % 16 {
            0..4 => Labels::SENT,
            4 => Labels::FORUMS,
            5 => Labels::UPDATES.with(Labels::UNREAD),
            6..9 => Labels::INBOX.with(Labels::PERSONAL).with(Labels::UNREAD),
            9..12 => Labels::INBOX.with(Labels::IMPORTANT),
            _ => Labels::NONE,
        };
        let answered = newest
            .len()
            .checked_sub(1)
            .filter(|_| (bits >> 8).is_multiple_of(3));
        let thread = answered.map(|last| newest[mailbox.random(last + 1)]);
        mailbox.insert(Message {
            id,
            thread: thread.unwrap_or(id),
            labels,
            internal_date: date,
            history_id,
            fact: None,
            written: None,
        });
        if thread.is_none() {
            newest.push(id);
        }
        if newest.len() > MAX_ANSWERED {
            newest.remove(0);
        }
    }
}

/// Generates facts now, in one mailbox or in random ones, and returns their number.
pub(crate) fn generate(service: &Gmail, account: Option<&str>, count: usize) -> usize {
    let open: Vec<String> = service.world().mailboxes.keys().cloned().collect();
    let mut facts = 0;
    for _ in 0..count {
        let (action, random) = {
            let mut world = service.world();
            let action = MIX.choose(&mut world.rng);
            (action, open.choose(&mut world.rng).cloned())
        };
        let Some(account) = account.map(str::to_owned).or(random) else {
            return facts;
        };
        let outcome = service
            .perform(service.now(), &params(&account, action))
            .or_else(|_| service.perform(service.now(), &params(&account, "mail.received")));
        facts += outcome.map_or(0, |outcome| outcome.facts.len());
    }
    facts
}

/// Parameters of an action of the mix: its name and, after a space, its variant.
fn params(account: &str, action: &str) -> ActionParams {
    let (action, variant) = action.split_once(' ').unwrap_or((action, ""));
    ActionParams {
        account: account.to_owned(),
        action: action.to_owned(),
        list: (variant == "list").then(|| "team.lists.example".to_owned()),
        archived: variant == "archived",
        spam: variant == "spam",
        answers_random: variant == "answer",
        ..ActionParams::default()
    }
}

/// Performs an action of the past, or receives a message if the action is impossible.
fn perform_or_receive(transaction: &mut Transaction<'_>, owner: &str, action: &str) {
    let first = transaction.perform(&params(owner, action), owner, &[]);
    if first.is_err() {
        transaction
            .perform(&params(owner, "mail.received"), owner, &[])
            .unwrap_or_else(|reason| panic!("a message can always be received: {reason}"));
    }
}

/// Generates facts at a rate per second, until `stop`.
pub(crate) async fn run_activity(service: Arc<Gmail>, rate: f64, stop: CancellationToken) {
    let random = || {
        let mut world = service.world();
        world.rng.random_range(f64::EPSILON..1.0_f64)
    };
    let generate_one = || {
        generate(&service, None, 1);
    };
    run_at_random(rate, stop, random, generate_one).await;
}
