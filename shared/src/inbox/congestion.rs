//! Whether more comes than can be committed, told from a moment in which commits took long.
//!
//! A line that is long because a disk paused is worked off within moments, and everybody in it
//! should be waited for. A line that stands helps nobody: whoever joins it waits for as long as
//! those before him, and gives up before his turn has come. The two differ in that the first
//! one empties now and then, without anybody being turned away.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A line that has not been empty for so long stands, and goes on to stand until nobody has been
/// turned away for as long: it is those turned away who keep it short.
const STANDS_AFTER: Duration = Duration::from_secs(2);

/// How a line moves.
#[derive(Debug)]
pub(super) struct Congestion {
    epoch: Instant,
    /// Milliseconds that the first of the newest batch had waited.
    waited: AtomicU64,
    /// Milliseconds after `epoch` at which the line was last seen empty.
    emptied: AtomicU64,
    /// The same, of the last time that somebody was turned away.
    turned_away: AtomicU64,
}

impl Congestion {
    pub(super) fn none() -> Self {
        Self {
            epoch: Instant::now(),
            waited: AtomicU64::new(0),
            emptied: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
        }
    }

    /// Of a line that was last empty so long ago.
    #[cfg(test)]
    pub(super) fn since(time: Duration) -> Self {
        let epoch = Instant::now().checked_sub(time);
        Self {
            epoch: epoch.expect("the clock runs for a while"),
            ..Self::none()
        }
    }

    /// A batch begins with one that has waited for so long.
    pub(super) fn moved(&self, waited: Duration) {
        self.waited.store(milliseconds(waited), Ordering::Release);
    }

    /// Nobody is left.
    pub(super) fn emptied(&self, now: Instant) {
        if self.is_long_ago(&self.turned_away, now) || !self.stands(now) {
            self.emptied.store(self.at(now), Ordering::Release);
        }
    }

    /// Somebody was not taken because the line stands.
    pub(super) fn turned_away(&self, now: Instant) {
        self.turned_away.store(self.at(now), Ordering::Release);
    }

    /// Whether the line stands, given that somebody waits in it.
    pub(super) fn stands(&self, now: Instant) -> bool {
        self.is_long_ago(&self.emptied, now)
    }

    /// Whether whoever joins it now will wait for so long.
    pub(super) fn takes(&self, time: Duration) -> bool {
        self.waited.load(Ordering::Acquire) >= milliseconds(time)
    }

    fn is_long_ago(&self, moment: &AtomicU64, now: Instant) -> bool {
        let moment = moment.load(Ordering::Acquire);
        self.at(now).saturating_sub(moment) >= milliseconds(STANDS_AFTER)
    }

    fn at(&self, now: Instant) -> u64 {
        milliseconds(now.saturating_duration_since(self.epoch))
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stands_when_it_has_not_been_empty_for_long() {
        let congestion = Congestion::none();
        let start = congestion.epoch;
        congestion.emptied(start + Duration::from_secs(10));
        assert!(!congestion.stands(start + Duration::from_millis(11_999)));
        assert!(congestion.stands(start + Duration::from_secs(12)));
        congestion.emptied(start + Duration::from_secs(12));
        assert!(!congestion.stands(start + Duration::from_secs(13)));
    }

    #[test]
    fn it_goes_on_to_stand_while_others_are_turned_away() {
        let congestion = Congestion::none();
        let second = |seconds| congestion.epoch + Duration::from_secs(seconds);
        assert!(congestion.stands(second(10)));
        congestion.turned_away(second(10));
        congestion.emptied(second(11));
        assert!(congestion.stands(second(11)));
        congestion.emptied(second(12));
        assert!(!congestion.stands(second(12)));
        // One who was turned away for another reason does not make it stand.
        congestion.turned_away(second(13));
        congestion.emptied(second(13));
        assert!(!congestion.stands(second(14)));
    }

    #[test]
    fn the_newest_batch_tells_how_long_it_takes() {
        let congestion = Congestion::none();
        assert!(!congestion.takes(Duration::from_millis(1)));
        congestion.moved(Duration::from_millis(300));
        assert!(congestion.takes(Duration::from_millis(300)));
        assert!(!congestion.takes(Duration::from_millis(301)));
    }
}
