//! Generated drives, history and activity.

use std::sync::Arc;

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use tokio_util::sync::CancellationToken;

use super::GoogleDrive;
use super::actions::{ActionParams, DriveTime};
use super::world::SharedDrive;
use crate::Config;
use crate::generate::{HISTORY_SECONDS, HistorySize, Mix, run_at_random};

const YEAR_SECONDS: i64 = 365 * 24 * 3_600;
const DRIVES: [&str; 2] = ["Engineering", "Operations"];
/// Shared drives of an account that the control API adds.
pub(super) const DEFAULT_DRIVES: usize = 1;
/// Seconds without facts before the start.
const GAP_SECONDS: i64 = 120;

const NEW_FILE: &str = "file.created";
const SHARED: &str = "file.shared";

/// Actions of a drive. The configuration can fix the number of new files.
const MIX: Mix = Mix {
    in_history: 8,
    counted: &[NEW_FILE],
    actions: &[
        (NEW_FILE, 90),
        ("file.edited", 130),
        (SHARED, 40),
        ("file.renamed", 12),
        ("file.commented", 20),
        ("file.starred", 6),
        ("file.shortcut", 4),
        ("file.moved", 4),
        ("file.trashed", 12),
        ("file.deleted", 6),
        ("file.unshared", 4),
    ],
};

/// Creates the shared drives of all accounts, and their history.
pub(super) fn populate(service: &GoogleDrive, config: &Config, now: i64) {
    let options = &config.providers.google_drive;
    let history_size = HistorySize {
        facts: config.history,
        fixed_count: options.new_files,
    };
    let accounts = service.google.state().people.administrators();
    for account in accounts {
        add_drives(service, &account, options.shared_drives, now);
        populate_history(service, &account, history_size, now);
    }
}

/// Creates shared drives that have all members of an account.
pub(super) fn add_drives(service: &GoogleDrive, account: &str, count: usize, now: i64) {
    let members = service.google.state().people.colleagues(account);
    let mut world = service.world();
    for number in 0..count {
        let name = match DRIVES.get(number) {
            Some(name) => (*name).to_owned(),
            None => format!("Drive {}", number + 1),
        };
        let id = world.id("0A", 19);
        let drive = SharedDrive {
            id: id.clone(),
            name,
            created: (now - HISTORY_SECONDS - YEAR_SECONDS) * 1_000,
            members: members.iter().cloned().collect(),
        };
        world.drives.insert(id, drive);
    }
}

/// Generates facts of the last thirty days in an account's drives, one drive after the other.
///
/// Their number is `facts` per drive: My Drive of the administrator and each shared drive.
pub(super) fn populate_history(
    service: &GoogleDrive,
    account: &str,
    history_size: HistorySize,
    now: i64,
) {
    let drives: Vec<String> = {
        let world = service.world();
        let shared = world.drives_of(account).map(|drive| drive.id.clone());
        std::iter::once("root".to_owned()).chain(shared).collect()
    };
    for (at, round, drive) in history_size.schedule(&drives, now, GAP_SECONDS) {
        let is_new_file = history_size
            .fixed_count
            .map(|files| history_size.selects(files, round));
        let (action, milliseconds) = {
            let mut world = service.world();
            let action = MIX.choose_past(is_new_file, &mut world.rng);
            (action, world.rng.random_range(0..1_000))
        };
        let when = DriveTime {
            at: at * 1_000 + milliseconds,
            is_live: false,
        };
        perform_or_create(service, account, action, drive, when);
    }
}

/// Generates facts now, in one account or in random ones, and returns their number.
pub(super) fn generate(service: &GoogleDrive, account: Option<&str>, count: usize) -> usize {
    let accounts = service.google.state().people.administrators();
    let mut facts = 0;
    for _ in 0..count {
        let (account, action, drive) = {
            let mut world = service.world();
            let random = accounts.choose(&mut world.rng).map(String::as_str);
            let Some(account) = account.or(random) else {
                return facts;
            };
            let drives = world.drives_of(account).map(|drive| drive.id.clone());
            let mut drives: Vec<String> = drives.collect();
            drives.push("root".to_owned());
            let drive = drives.choose(&mut world.rng).cloned().unwrap_or_default();
            (account, MIX.choose(&mut world.rng), drive)
        };
        facts += perform_or_create(service, account, action, &drive, service.now());
    }
    facts
}

/// Performs an action, or creates a file if the action is impossible.
fn perform_or_create(
    service: &GoogleDrive,
    account: &str,
    action: &str,
    drive: &str,
    when: DriveTime,
) -> usize {
    let colleagues = service.google.state().people.colleagues(account);
    // Others share files with the account, which shares with random colleagues.
    let actor = {
        let mut world = service.world();
        choose_actor(&mut world.rng, &colleagues, account, action, drive)
    };
    let with = (action == SHARED && actor != account).then(|| account.to_owned());
    let params = |action: &str| ActionParams {
        account: account.to_owned(),
        action: action.to_owned(),
        actor: Some(actor.clone()),
        to: (action != "file.moved").then(|| drive.to_owned()),
        with: with.clone(),
        ..ActionParams::default()
    };
    let outcome = service
        .perform(&params(action), when)
        .or_else(|_| service.perform(&params(NEW_FILE), when));
    outcome.map_or(0, |outcome| outcome.facts.len())
}

/// Selects the person who acts.
///
/// All members act in shared drives, the account itself in My Drive. Members share with each other,
/// and people outside share with the account.
fn choose_actor(
    rng: &mut StdRng,
    colleagues: &[String],
    account: &str,
    action: &str,
    drive: &str,
) -> String {
    let is_shared_file = action == SHARED && drive == "root";
    if is_shared_file && rng.random_bool(0.1) {
        let partner = rng.random_range(1..=3);
        return format!("partner-{partner}@outside.example");
    }
    let is_any_member = drive != "root" || (is_shared_file && rng.random_bool(0.5));
    let member = colleagues.choose(rng).filter(|_| is_any_member);
    member.map_or_else(|| account.to_owned(), Clone::clone)
}

/// Generates facts at a rate per second, until `stop`.
pub(super) async fn run_activity(service: Arc<GoogleDrive>, rate: f64, stop: CancellationToken) {
    let random = || service.world().rng.random_range(f64::EPSILON..1.0_f64);
    let generate_one = || {
        generate(&service, None, 1);
    };
    run_at_random(rate, stop, random, generate_one).await;
}
