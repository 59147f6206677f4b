//! Walk over the messages of a chat in windows of time, newest first.
//!
//! Cliq returns at most so many messages of a window, without saying which if there are more, and
//! has no token for the rest. A page that is not full is complete. After a full page the parts of
//! the window before and after its messages are read as well; the messages of its first and last
//! millisecond are left to them, because some may be missing. So the walk depends neither on the
//! order of the messages nor on whether the bounds of a window belong to it.
//!
//! The width of the windows follows the density of the messages, so a quiet chat costs one call and
//! a busy one little more than its pages.

use serde::{Deserialize, Serialize};

/// Growth of the windows behind an empty one.
const EMPTY_GROWTH: i64 = 8;
/// Maximum change of the width from one window to the next.
const MAX_CHANGE: i64 = 4;

/// A span of time, both ends included, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Span {
    pub(super) from: i64,
    pub(super) to: i64,
    /// Time of a known message before the span.
    ///
    /// A page that has it as well misses no message at the start of the span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<i64>,
    /// Time of a known message after the span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<i64>,
}

impl Span {
    const fn new(from: i64, to: i64) -> Self {
        Self {
            from,
            to,
            before: None,
            after: None,
        }
    }

    const fn length(self) -> i64 {
        self.to.saturating_sub(self.from).saturating_add(1)
    }

    /// The bounds of the request, which lie outside, whether or not they belong to the window.
    pub(super) fn request(self) -> (i64, i64) {
        let (mut from, mut to) = (self.from - 1, self.to + 1);
        if self.from < self.to {
            from = self.before.unwrap_or(from).min(from);
            to = self.after.unwrap_or(to).max(to);
        }
        (from.max(0), to)
    }

    pub(super) fn contains(self, time: i64) -> bool {
        (self.from..=self.to).contains(&time)
    }
}

/// How full a page is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fill {
    /// Number of its rows.
    pub(super) rows: usize,
    /// Maximum number that was asked for.
    pub(super) limit: usize,
}

/// The rest of a walk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Walk {
    /// Unread spans, the newest last.
    spans: Vec<Span>,
    /// Width of the next window.
    width: i64,
}

impl Walk {
    /// A walk over a span; the first window is the whole span.
    pub(super) fn new(from: i64, to: i64) -> Self {
        let span = Span::new(from, to);
        Self {
            spans: (from <= to).then_some(span).into_iter().collect(),
            width: span.length().max(1),
        }
    }

    /// The next window; `None` at the end of the walk.
    pub(super) fn window(&self) -> Option<Span> {
        let span = *self.spans.last()?;
        let from = span.to.saturating_sub(self.width.max(1) - 1);
        Some(if from <= span.from {
            span
        } else {
            Span {
                from,
                before: None,
                ..span
            }
        })
    }

    /// Records the page of a window; returns the span of the messages that are complete.
    ///
    /// `times` are those of all messages of the page, also of those outside the window. The page is
    /// full if it has `limit` rows, readable or not.
    pub(super) fn advance(&mut self, window: Span, times: &[i64], page: Fill) -> Option<Span> {
        if let Some(span) = self.spans.pop()
            && span.from < window.from
        {
            self.spans.push(Span {
                to: window.from - 1,
                after: None,
                ..span
            });
        }
        let mut within: Vec<i64> = times.to_vec();
        within.retain(|time| window.contains(*time));
        within.sort_unstable();
        if page.rows < page.limit {
            self.adapt(window, within.len(), page.limit);
            return Some(window);
        }
        if window.from == window.to {
            // More messages of one millisecond than a page has cannot be read.
            return Some(window);
        }
        let (Some(&first), Some(&last)) = (within.first(), within.last()) else {
            // The messages just outside fill the page: the next request leaves them out.
            self.push(window.from, window.from, None, None);
            self.push(window.from + 1, window.to - 1, None, None);
            self.push(window.to, window.to, None, None);
            return None;
        };
        if first == last {
            self.split(window, first);
            return None;
        }
        self.width = ((last - first) / 4 * 3).max(1);
        let has_before = times.iter().any(|time| *time < window.from);
        let has_after = times.iter().any(|time| *time > window.to);
        let second = within.iter().copied().find(|time| *time > first);
        let before_last = within.iter().rev().copied().find(|time| *time < last);
        let mut complete = Span::new(first, last);
        if !(first == window.from && has_before) {
            complete.from = first + 1;
            self.push(window.from, first, window.before, second);
        }
        if !(last == window.to && has_after) {
            complete.to = last - 1;
            self.push(last, window.to, before_last, window.after);
        }
        (complete.from <= complete.to).then_some(complete)
    }

    /// Reads a millisecond of a window by itself, and what is before and after it.
    fn split(&mut self, window: Span, at: i64) {
        self.width = (window.length() / 2).max(1);
        self.push(window.from, at - 1, None, None);
        self.push(at, at, None, None);
        self.push(at + 1, window.to, None, None);
    }

    fn push(&mut self, from: i64, to: i64, before: Option<i64>, after: Option<i64>) {
        if from <= to {
            self.spans.push(Span {
                from,
                to,
                before,
                after,
            });
        }
    }

    /// Chooses the width of the next window so that three quarters of a page are expected.
    fn adapt(&mut self, window: Span, count: usize, limit: usize) {
        let length = window.length();
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let wanted = i64::try_from(limit).unwrap_or(i64::MAX) / 4 * 3;
        self.width = match length.saturating_mul(wanted).checked_div(count) {
            None => length.saturating_mul(EMPTY_GROWTH),
            Some(width) => width.clamp(length / MAX_CHANGE, length.saturating_mul(MAX_CHANGE)),
        }
        .max(1);
    }

    /// The number of milliseconds that are not read yet.
    pub(super) fn left(&self) -> i64 {
        let lengths = self.spans.iter().map(|span| span.length());
        lengths.fold(0, i64::saturating_add)
    }
}

#[cfg(test)]
mod tests;
