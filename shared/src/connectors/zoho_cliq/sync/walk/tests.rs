//! The walk against a small model of Cliq's list of messages.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A list of messages that answers requests for windows.
#[derive(Debug, Clone)]
struct Model {
    /// Times of the messages.
    messages: Vec<i64>,
    limit: usize,
    /// Whether a full page has the newest messages of the window, or else the oldest.
    is_newest: bool,
    /// Whether the bounds of a window belong to it.
    is_inclusive: bool,
}

impl Model {
    fn read(&self, (from, to): (i64, i64)) -> Vec<i64> {
        let (from, to) = if self.is_inclusive {
            (from, to)
        } else {
            (from + 1, to - 1)
        };
        let mut found = self.messages.clone();
        found.retain(|time| (from..=to).contains(time));
        found.sort_unstable();
        if self.is_newest {
            found.drain(..found.len().saturating_sub(self.limit));
        } else {
            found.truncate(self.limit);
        }
        found
    }
}

/// The earliest time.
const START: i64 = 1_000;

/// Number of messages per time.
type Counts = BTreeMap<i64, usize>;

fn count(times: impl IntoIterator<Item = i64>) -> Counts {
    let mut counts = Counts::new();
    for time in times {
        *counts.entry(time).or_default() += 1;
    }
    counts
}

/// The messages that a walk finds, by page, and the number of its calls.
///
/// The cursor is stored after each page.
fn walk(model: &Model, from: i64, to: i64) -> (Vec<Counts>, usize) {
    let mut walk = Walk::new(from, to);
    let (mut pages, mut calls) = (Vec::new(), 0);
    while let Some(window) = walk.window() {
        calls += 1;
        assert!(calls < 10_000, "the walk does not end: {walk:?}");
        let times = model.read(window.request());
        let left = walk.left();
        let fill = Fill {
            rows: times.len(),
            limit: model.limit,
        };
        let complete = walk.advance(window, &times, fill);
        assert!(walk.left() <= left, "no progress");
        let found = times
            .into_iter()
            .filter(|time| complete.is_some_and(|span| span.contains(*time)));
        pages.push(count(found));
        let stored = serde_json::to_value(&walk).expect("JSON");
        walk = serde_json::from_value(stored).expect("a walk");
    }
    (pages, calls)
}

fn model() -> impl Strategy<Value = Model> {
    let messages = prop::collection::vec(START..START + 40, 0..50);
    let flags = (any::<bool>(), any::<bool>());
    (messages, 4_usize..9, flags).prop_map(|(mut messages, limit, (is_newest, is_inclusive))| {
        messages.sort_unstable();
        // More messages of a time and its neighbours than a page has cannot be read.
        let mut kept: Vec<i64> = Vec::new();
        for time in messages {
            if kept.iter().filter(|known| time - **known <= 2).count() + 1 < limit {
                kept.push(time);
            }
        }
        let messages = kept;
        Model {
            messages,
            limit,
            is_newest,
            is_inclusive,
        }
    })
}

proptest! {
    #[test]
    fn every_message_is_found_with_its_millisecond(model in model(), from in START..START + 20, length in 0_i64..30) {
        let to = from + length;
        let mut expected = count(model.messages.iter().copied());
        expected.retain(|time, _| (from..=to).contains(time));
        let mut found = Counts::new();
        for page in walk(&model, from, to).0 {
            for (time, number) in page {
                prop_assert_eq!(expected.get(&time), Some(&number), "all of {} on one page", time);
                found.insert(time, number);
            }
        }
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn crowded_millisecond_does_not_loop(
        times in prop::collection::vec(START..START + 4, 0..60),
        limit in 1_usize..9,
        is_newest in any::<bool>(),
    ) {
        let model = Model { messages: times, limit, is_newest, is_inclusive: true };
        let (_, calls) = walk(&model, START, START + 4);
        prop_assert!(calls < 60, "{calls} calls");
    }
}

fn dense(is_newest: bool) -> Model {
    Model {
        messages: (0..10_000)
            .map(|number| 1_000_000 + number * 60_000)
            .collect(),
        limit: 100,
        is_newest,
        is_inclusive: true,
    }
}

#[test]
fn quiet_chat_costs_one_call() {
    let mut model = dense(false);
    model.messages.truncate(99);
    assert_eq!(walk(&model, 0, i64::from(u32::MAX)).1, 1);
}

#[test]
fn busy_chat_costs_little_more_than_its_pages() {
    for is_newest in [false, true] {
        let (pages, calls) = walk(&dense(is_newest), 0, 700_000_000);
        let found: usize = pages.iter().flat_map(Counts::values).sum();
        assert_eq!(found, 10_000);
        assert!(calls < 150, "{calls} calls for 100 pages");
    }
}

#[test]
fn newest_messages_come_first() {
    let (pages, _) = walk(&dense(false), 0, 700_000_000);
    let newest: Vec<i64> = pages
        .iter()
        // The first call shows the density; its page has the oldest messages.
        .skip(1)
        .filter_map(|page| page.keys().next_back().copied())
        .collect();
    let ascents = newest.windows(2).filter(|pair| pair[0] < pair[1]).count();
    assert!(
        ascents * 10 < newest.len(),
        "{ascents} ascents in {newest:?}"
    );
}
