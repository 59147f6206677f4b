//! The state of health that events have reported, and when a change becomes an event.
//!
//! A worse state is reported at once. A better one is reported at once if the reported state has
//! lasted for a minute, and otherwise when a minute has passed since the connection left it and it
//! has not returned. A state that flaps within seconds therefore causes one event, and the last
//! event names the current state within a minute.

use chrono::{DateTime, TimeDelta, Utc};

use super::HealthState;
use crate::model::EventType;

/// The time that a state must last, or be left, before a better one is reported.
const SETTLING_TIME: TimeDelta = TimeDelta::minutes(1);

/// The state that the last event reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reported {
    /// The state.
    pub state: HealthState,
    /// Since when the connection has it.
    pub since: DateTime<Utc>,
    /// When a better state is reported, which the connection has now.
    pub due_at: Option<DateTime<Utc>>,
}

impl Reported {
    /// Compares the state of now; returns the event that reports it, if one is due.
    ///
    /// A pause changes nothing: a person who pauses a connection knows it.
    pub fn observe(&mut self, state: HealthState, now: DateTime<Utc>) -> Option<EventType> {
        let (severity, event) = severity_and_event(state)?;
        let reported = severity_and_event(self.state).map_or(0, |(severity, _)| severity);
        if severity == reported {
            if self.due_at.take().is_some() {
                self.since = now;
            }
            return None;
        }
        if severity < reported {
            let due_at = self.due_at.unwrap_or_else(|| self.first_due_at(now));
            if now < due_at {
                self.due_at = Some(due_at);
                return None;
            }
        }
        *self = Self {
            state,
            since: now,
            due_at: None,
        };
        Some(event)
    }

    /// When a better state is reported that begins now.
    fn first_due_at(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        if now - self.since >= SETTLING_TIME {
            now
        } else {
            now + SETTLING_TIME
        }
    }
}

/// How bad a state is, and the event that reports it; `None` for a pause.
const fn severity_and_event(state: HealthState) -> Option<(u8, EventType)> {
    match state {
        HealthState::Healthy | HealthState::Backfilling => {
            Some((0, EventType::ConnectionRecovered))
        }
        HealthState::Degraded => Some((1, EventType::ConnectionDegraded)),
        HealthState::ActionRequired => Some((2, EventType::ConnectionActionRequired)),
        HealthState::Disconnected => Some((3, EventType::ConnectionDisconnected)),
        HealthState::Paused => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn new() -> Reported {
        Reported {
            state: HealthState::Backfilling,
            since: DateTime::UNIX_EPOCH,
            due_at: None,
        }
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    /// The events of these states, each at a second.
    fn events(states: &[(i64, HealthState)]) -> Vec<(i64, EventType)> {
        let mut reported = new();
        let observed = states.iter().map(|(second, state)| {
            let event = reported.observe(*state, at(*second));
            event.map(|event| (*second, event))
        });
        observed.flatten().collect()
    }

    #[test]
    fn lasting_states_are_reported_at_once() {
        use HealthState::{ActionRequired, Backfilling, Degraded, Disconnected, Healthy};

        let states = [
            (5, Backfilling),
            (10, Healthy),
            (15, Degraded),
            (75, Healthy),
            (80, Degraded),
            (85, ActionRequired),
            (200, Degraded),
            (300, Healthy),
            (310, Disconnected),
        ];
        let expected = [
            (15, EventType::ConnectionDegraded),
            (75, EventType::ConnectionRecovered),
            (80, EventType::ConnectionDegraded),
            (85, EventType::ConnectionActionRequired),
            (200, EventType::ConnectionDegraded),
            (300, EventType::ConnectionRecovered),
            (310, EventType::ConnectionDisconnected),
        ];
        assert_eq!(events(&states), expected);
    }

    #[test]
    fn recovery_from_short_problem_is_reported_after_a_minute() {
        use HealthState::{Degraded, Healthy};

        let problem = (10, EventType::ConnectionDegraded);
        let recovery = (80, EventType::ConnectionRecovered);
        let states = [(10, Degraded), (20, Healthy), (79, Healthy), (80, Healthy)];
        assert_eq!(events(&states), [problem, recovery]);
        // It returns, so the minute begins again when it is left.
        let states = [
            (10, Degraded),
            (20, Healthy),
            (30, Degraded),
            (40, Healthy),
            (80, Healthy),
            (99, Healthy),
        ];
        assert_eq!(events(&states), [problem]);
    }

    #[test]
    fn pause_reports_nothing() {
        use HealthState::{Degraded, Healthy, Paused};

        let states = [(10, Degraded), (100, Paused), (200, Healthy)];
        let expected = [
            (10, EventType::ConnectionDegraded),
            (200, EventType::ConnectionRecovered),
        ];
        assert_eq!(events(&states), expected);
        assert!(events(&[(10, Paused), (20, Healthy)]).is_empty());
    }

    proptest! {
        #[test]
        fn flapping_state_is_reported_once(steps in prop::collection::vec((1_i64..20, 0_usize..2), 1..200)) {
            let mut second = 0;
            let mut reported = new();
            let mut count = 0;
            for (seconds, state) in steps {
                second += seconds;
                let state = [HealthState::Degraded, HealthState::Healthy][state];
                let event = reported.observe(state, at(second));
                count += i64::from(event == Some(EventType::ConnectionDegraded));
            }
            // A problem is reported again only after it, or its end, has lasted for a minute.
            prop_assert!(count <= 1 + second / 60, "{count} in {second} s");
        }

        #[test]
        fn last_event_names_state_that_lasts(
            steps in prop::collection::vec((1_i64..200, 0_usize..5), 0..50), last in 0_usize..4,
        ) {
            const STATES: [HealthState; 5] = [
                HealthState::Healthy,
                HealthState::Degraded,
                HealthState::ActionRequired,
                HealthState::Backfilling,
                HealthState::Paused,
            ];
            let mut reported = new();
            let mut second = 0;
            for (seconds, index) in steps {
                second += seconds;
                reported.observe(STATES[index], at(second));
            }
            let state = STATES[last];
            reported.observe(state, at(second + 1));
            reported.observe(state, at(second + 61));
            let severity = |state| severity_and_event(state).map(|(severity, _)| severity);
            prop_assert_eq!(severity(reported.state), severity(state));
            prop_assert_eq!(reported.due_at, None);
        }
    }
}
