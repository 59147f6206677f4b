//! Generated history and activity.

use std::sync::Arc;

use rand::RngExt;
use rand::seq::{IndexedRandom, IteratorRandom};
use tokio_util::sync::CancellationToken;

use super::GoogleCalendar;
use super::actions::{ActionParams, Transaction};
use crate::Config;
use crate::action::ActionTime;
use crate::generate::{HistorySize, Mix, run_at_random};

/// People of an account that the control API adds, not counting the administrator.
pub(super) const DEFAULT_PEOPLE: usize = 4;

const NEW_EVENT: &str = "event.created";

/// Actions of people. The history has no cancelled events, which vanish with time.
const MIX: Mix = Mix {
    in_history: 3,
    counted: &[NEW_EVENT],
    actions: &[
        (NEW_EVENT, 120),
        ("event.edited", 60),
        ("event.reminder", 6),
        ("event.responded", 30),
        ("event.moved", 6),
        ("event.cancelled", 24),
    ],
};

/// Generates facts of the last thirty days in every account.
pub(super) fn populate_history(service: &GoogleCalendar, config: &Config) {
    let history_size = HistorySize {
        facts: config.history,
        fixed_count: None,
    };
    let administrators = service.google.state().people.administrators();
    for admin in administrators {
        populate_account_history(service, &admin, history_size);
    }
}

/// Generates facts of the last thirty days in the calendars of an administrator.
///
/// Their number is `facts` per calendar.
pub(super) fn populate_account_history(
    service: &GoogleCalendar,
    login: &str,
    history_size: HistorySize,
) {
    let now = service.google.core.clock.seconds();
    let calendars = service.world().writable(login);
    for (at, _, calendar) in history_size.schedule(&calendars, now, 3_600) {
        let when = ActionTime { at, is_live: false };
        service.transact(when, |tx| {
            let action = MIX.choose_past(None, &mut tx.world.rng);
            perform_or_create(tx, login, action, Some(calendar));
        });
    }
}

/// Generates facts now, of one person or of random administrators, and returns their number.
pub(super) fn generate(service: &GoogleCalendar, login: Option<&str>, count: usize) -> usize {
    let administrators = service.google.state().people.administrators();
    let mut facts = 0;
    for _ in 0..count {
        facts += service.transact(service.now(), |tx| {
            let action = MIX.choose(&mut tx.world.rng);
            let random = administrators.choose(&mut tx.world.rng).map(String::as_str);
            login
                .or(random)
                .map_or(0, |login| perform_or_create(tx, login, action, None))
        });
    }
    facts
}

/// Performs an action, or creates an event if the action is impossible.
fn perform_or_create(
    tx: &mut Transaction<'_>,
    login: &str,
    action: &str,
    calendar: Option<&String>,
) -> usize {
    let params = random_params(tx, login, action, calendar);
    let outcome = tx.perform(login, &params).or_else(|_| {
        let params = random_params(tx, login, NEW_EVENT, calendar);
        tx.perform(login, &params)
    });
    outcome.map_or(0, |outcome| outcome.facts.len())
}

fn random_params(
    tx: &mut Transaction<'_>,
    login: &str,
    action: &str,
    calendar: Option<&String>,
) -> ActionParams {
    let guest = random_colleague(tx, login);
    let rng = &mut tx.world.rng;
    let mut params = ActionParams {
        action: action.to_owned(),
        calendar: calendar.cloned(),
        ..ActionParams::default()
    };
    match action {
        NEW_EVENT => {
            params.rule = rng
                .random_bool(0.25)
                .then(|| ["daily", "weekly"][rng.random_range(0..2)].to_owned());
            params.all_day = rng.random_bool(0.15);
            params.private = rng.random_bool(0.1);
            params.guests = guest.filter(|_| rng.random_bool(0.3)).map(|one| vec![one]);
        }
        "event.edited" | "event.cancelled" => {
            let scope = ["this", "following", "all", "all"][rng.random_range(0..4)];
            params.scope = Some(scope.to_owned());
            params.occurrence = Some(rng.random_range(0..6));
        }
        _ => params.calendar = None,
    }
    params
}

/// Address of a random person of the same domain.
fn random_colleague(tx: &mut Transaction<'_>, login: &str) -> Option<String> {
    let own = tx.world.users.get(login)?.address.clone();
    let (_, domain) = own.split_once('@')?;
    let users = tx.world.users.values();
    users
        .map(|user| &user.address)
        .filter(|address| **address != own && address.ends_with(domain))
        .choose(&mut tx.world.rng)
        .cloned()
}

/// Generates facts at a rate per second, until `stop`.
pub(super) async fn run_activity(service: Arc<GoogleCalendar>, rate: f64, stop: CancellationToken) {
    let random = || {
        let mut world = service.world();
        world.rng.random_range(f64::EPSILON..1.0_f64)
    };
    let generate_one = || {
        generate(&service, None, 1);
    };
    run_at_random(rate, stop, random, generate_one).await;
}
