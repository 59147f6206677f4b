//! Tests of a mailbox's history, threads and notifications.

use super::*;

const NOW: i64 = 1_795_428_000;

fn message(mailbox: &mut Mailbox, thread: Option<u64>) -> Message {
    let id = mailbox.new_id(NOW * 1_000);
    Message {
        id,
        thread: thread.unwrap_or(id),
        labels: Labels::INBOX,
        internal_date: NOW * 1_000,
        history_id: 0,
        fact: None,
        written: None,
    }
}

fn mailbox() -> Mailbox {
    Mailbox::new("1", "a@team.example", 1, 7)
}

#[test]
fn history_ids_grow_with_gaps() {
    let mut mailbox = mailbox();
    let start = mailbox.history_id();
    let mut ids = Vec::new();
    for _ in 0..50 {
        let new = message(&mut mailbox, None);
        ids.push(mailbox.add(new, NOW));
    }
    assert!(ids.is_sorted());
    assert!(ids[49] > start + 50, "gaps");
    let kept = mailbox.records_after(start).expect("the history");
    assert_eq!(kept.count(), 50);
    let kept = mailbox.records_after(ids[10]).expect("the history");
    assert_eq!(kept.map(|record| record.id).next(), Some(ids[11]));
    assert!(mailbox.records_after(ids[49] + 1).is_none());
}

#[test]
fn expired_history_refuses_ids_of_all_messages() {
    let mut mailbox = mailbox();
    let new = message(&mut mailbox, None);
    let id = new.id;
    let own = mailbox.add(new, NOW);
    assert_eq!(mailbox.messages[&id].history_id, own);
    assert_eq!(mailbox.expire_history(NOW), [id]);
    assert!(mailbox.records_after(own).is_none());
    let current = mailbox.history_id();
    assert!(mailbox.records_after(current).is_some());
}

#[test]
fn quiet_mailbox_keeps_polling_client_valid() {
    let mut mailbox = mailbox();
    let new = message(&mut mailbox, None);
    let first = mailbox.add(new, NOW);
    let mut cursor = first;
    for day in 0..30 {
        mailbox.trim(NOW + day * DAY, 7 * DAY);
        assert!(mailbox.records_after(cursor).is_some(), "day {day}");
        cursor = mailbox.history_id();
    }
    assert!(mailbox.records_after(first).is_none());
    assert!(mailbox.records.len() < 10);
}

#[test]
fn threads_count_until_their_last_message() {
    let mut mailbox = mailbox();
    let first = message(&mut mailbox, None);
    let thread = first.thread;
    mailbox.add(first, NOW);
    let second = message(&mut mailbox, Some(thread));
    let reply = second.id;
    mailbox.add(second, NOW);
    assert_eq!(mailbox.thread_count(), 1);
    assert_eq!(mailbox.thread(thread).count(), 2);
    assert!(mailbox.take(thread).is_some());
    assert_eq!(mailbox.thread_count(), 1);
    assert!(mailbox.take(reply).is_some());
    assert_eq!(mailbox.thread_count(), 0);
    assert!(mailbox.take(reply).is_none());
}

#[test]
fn notifications_are_limited_and_end() {
    let mut mailbox = mailbox();
    let now = NOW * 1_000;
    let changes = [message(&mut mailbox, None).change(ChangeKind::MessageAdded)];
    assert!(!mailbox.publishes(&changes, now, 1_000), "no watch");
    mailbox.watch = Some(Watch::of_all(now + 5_000));
    assert!(mailbox.publishes(&changes, now, 1_000));
    assert!(!mailbox.publishes(&changes, now + 999, 1_000));
    assert!(mailbox.publishes(&changes, now + 1_000, 1_000));
    assert!(!mailbox.publishes(&changes, now + 5_000, 1_000));
}
