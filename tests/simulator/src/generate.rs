//! Generation of accounts, history and activity that providers share.

use std::time::Duration;

use rand::Rng;
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use tokio_util::sync::CancellationToken;

const DAY: i64 = 24 * 3_600;
/// Length of the generated history, in seconds.
pub(crate) const HISTORY_SECONDS: i64 = 30 * DAY;

/// Size of an account.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AccountSize {
    /// Repositories, channels or projects.
    pub(crate) containers: usize,
    /// People, not counting the administrator.
    pub(crate) people: usize,
}

/// Number of facts in each container of an account before the start.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct HistorySize {
    pub(crate) facts: usize,
    /// Number of facts of the mix's counted action among them; by default, a typical share.
    pub(crate) fixed_count: Option<usize>,
}

impl HistorySize {
    /// Whether fact number `index` (from zero) is one of `share` facts at even distances.
    pub(crate) const fn selects(self, share: usize, index: usize) -> bool {
        self.facts > 0 && index * share % self.facts < share
    }

    /// Times of the past facts, in order, each with its number in its container and the container.
    ///
    /// The containers take turns. The last fact is more than `gap` seconds before `now`.
    pub(crate) fn schedule(
        self,
        containers: &[String],
        now: i64,
        gap: i64,
    ) -> impl Iterator<Item = (i64, usize, &String)> {
        let count = i64::try_from(self.facts * containers.len()).unwrap_or(0);
        let since = now - HISTORY_SECONDS;
        let rounds = (0..self.facts)
            .flat_map(move |round| containers.iter().map(move |container| (round, container)));
        (0_i64..)
            .zip(rounds)
            .map(move |(number, (round, container))| {
                let at = since + (HISTORY_SECONDS - gap) * number / count.max(1);
                (at, round, container)
            })
    }
}

/// Actions with their weights.
pub(crate) struct Mix {
    /// Name and weight of each action.
    pub(crate) actions: &'static [(&'static str, u32)],
    /// Number of actions, from the first, that occur in the history.
    ///
    /// A backfill cannot find the others.
    pub(crate) in_history: usize,
    /// Actions whose facts a configuration can count. The first one represents all.
    pub(crate) counted: &'static [&'static str],
}

impl Mix {
    /// Chooses an action of the present.
    pub(crate) fn choose(&self, rng: &mut impl Rng) -> &'static str {
        choose(self.actions.iter(), rng)
    }

    /// Chooses an action of the history: any, or the counted one or another.
    pub(crate) fn choose_past(&self, is_counted: Option<bool>, rng: &mut impl Rng) -> &'static str {
        let past = self.actions[..self.in_history].iter();
        match is_counted {
            None => choose(past, rng),
            Some(true) => self.counted[0],
            Some(false) => choose(past.filter(|(name, _)| !self.counted.contains(name)), rng),
        }
    }
}

fn choose(
    mut actions: impl Iterator<Item = &'static (&'static str, u32)> + Clone,
    rng: &mut impl Rng,
) -> &'static str {
    let weights =
        WeightedIndex::new(actions.clone().map(|(_, weight)| *weight)).expect("a mix has weights");
    let chosen = weights.sample(rng);
    let (name, _) = actions.nth(chosen).expect("an action per weight");
    name
}

/// Generates facts at random times, on average at a rate per second, until `stop` is cancelled.
///
/// `random` returns a random number between 0 and 1.
pub(crate) async fn run_at_random(
    rate: f64,
    stop: CancellationToken,
    random: impl Fn() -> f64 + Send,
    generate: impl Fn() + Send,
) {
    loop {
        let pause = -random().ln() / rate;
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs_f64(pause.min(60.0))) => {}
            () = stop.cancelled() => return,
        }
        generate();
    }
}
