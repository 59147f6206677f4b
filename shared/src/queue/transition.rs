//! The effect of an outcome on a job, the same in every implementation of the queue.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::job::{Finished, JobOutcome};
use crate::model::{JobError, JobState};

/// Backoff after the first failed attempt, in seconds; each further one is four times as long.
const BACKOFF_SECONDS: f64 = 2.0;

/// The effect of an outcome on a job.
#[derive(Debug, Clone, Copy)]
pub enum Transition<'a> {
    /// The job moves to the history.
    Finalized {
        /// Its final state.
        state: JobState,
        /// The cause; `None` keeps the error of the last attempt.
        error: Option<&'a JobError>,
    },
    /// The job is queued again.
    Requeued {
        /// When it is due.
        due: Due,
        /// Whether the attempt is not counted.
        is_refunded: bool,
        /// The number of attempts that it has lost from now on.
        lost_attempts: i16,
        /// The cause.
        error: &'a JobError,
    },
}

/// When a requeued job is due.
#[derive(Debug, Clone, Copy)]
pub enum Due {
    /// After this time, by the queue's clock.
    After(Duration),
    /// At this time.
    At(DateTime<Utc>),
}

impl<'a> Transition<'a> {
    /// The effect of the outcome of an attempt.
    pub fn of(finished: &'a Finished) -> Self {
        let job = &finished.job;
        let lost = job.lost_attempts;
        let finalized = |state, error| Self::Finalized { state, error };
        if let Some(error) = finished.dead_error() {
            return finalized(JobState::Dead, Some(error));
        }
        match &finished.outcome {
            JobOutcome::Succeeded => finalized(JobState::Succeeded, None),
            JobOutcome::Cancelled => finalized(JobState::Cancelled, None),
            JobOutcome::Dead(error) => finalized(JobState::Dead, Some(error)),
            JobOutcome::Failed(error) => Self::Requeued {
                due: after(backoff_seconds(job.attempts, rand::random())),
                is_refunded: false,
                lost_attempts: lost,
                error,
            },
            JobOutcome::Interrupted(error) => Self::Requeued {
                due: after(interruption_seconds(lost, rand::random())),
                is_refunded: true,
                lost_attempts: lost.saturating_add(1),
                error,
            },
            // The attempt ended in an orderly way, so the job did not cause earlier losses.
            JobOutcome::Snoozed { at, error } => Self::Requeued {
                due: Due::At(*at),
                is_refunded: true,
                lost_attempts: 0,
                error,
            },
        }
    }
}

fn after(seconds: f64) -> Due {
    Due::After(Duration::from_secs_f64(seconds))
}

/// Backoff after an interrupted attempt, in seconds: from one second to four minutes.
///
/// The sum over all lost attempts that a job may have exceeds the duration of most overloads.
fn interruption_seconds(lost_attempts: i16, random: f64) -> f64 {
    let full = 2_f64.powi(i32::from(lost_attempts.clamp(0, 8)));
    full / 2.0 + full / 2.0 * random
}

/// Exponential backoff in seconds, with the upper half as random jitter.
///
/// The jitter keeps jobs that failed together from retrying together.
fn backoff_seconds(attempts: i16, random: f64) -> f64 {
    let full = BACKOFF_SECONDS * 4_f64.powi(i32::from(attempts.max(1)) - 1);
    full / 2.0 + full / 2.0 * random
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_with_jitter() {
        assert!((1.0..=2.0).contains(&backoff_seconds(1, 0.3)));
        assert!((4.0..=8.0).contains(&backoff_seconds(2, 0.9)));
        assert!(backoff_seconds(2, 0.0) < backoff_seconds(2, 1.0));
        assert!((0.5..=1.0).contains(&interruption_seconds(0, 0.3)));
        let all: f64 = (0..10).map(|lost| interruption_seconds(lost, 0.0)).sum();
        assert!(all > 300.0, "sum of {all} s exceeds five minutes");
    }
}
