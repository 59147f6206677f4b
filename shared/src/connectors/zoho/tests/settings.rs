//! Settings of the client.

use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::super::per_minute;
use super::super::settings::ZohoApp;
use crate::config::Reader;
use crate::connectors::RateBudget;
use crate::connectors::settings::AppReader;
use crate::connectors::testing::env;
use crate::connectors::zoho::DataCenter;
use crate::model::LimitScope;

fn read(pairs: &[(&str, &str)]) -> Result<ZohoApp, String> {
    let env = env(pairs);
    let mut reader = Reader::new(&env);
    let app = ZohoApp::read(&mut AppReader::new(&mut reader));
    let problems = reader.finish().map_err(|error| error.to_string());
    problems.map(|()| app)
}

const CLIENT: [(&str, &str); 2] = [
    ("ZOHO_CLIENT_ID", "the-client"),
    ("ZOHO_CLIENT_SECRET", "s3cret-of-the-client"),
];

#[test]
fn data_center_has_own_or_common_secrets() {
    let own = (
        "ZOHO_CLIENT_SECRET_EU",
        "s3cret-of-europe-2,s3cret-of-europe-1",
    );
    let app = read(&[&CLIENT[..], &[own]].concat()).expect("valid");
    assert_eq!(app.home, DataCenter::Us);
    let secrets = |data_center: DataCenter| -> Vec<String> {
        let site = app.site(data_center).expect("a site");
        let secrets = site.client.secrets.iter();
        secrets
            .map(|secret| secret.expose_secret().to_owned())
            .collect()
    };
    assert_eq!(secrets(DataCenter::In), ["s3cret-of-the-client"]);
    assert_eq!(
        secrets(DataCenter::Eu),
        ["s3cret-of-europe-2", "s3cret-of-europe-1"]
    );
    let shown = format!("{app:?}");
    assert!(shown.contains("the-client") && !shown.contains("s3cret"));
}

#[test]
fn home_is_a_known_data_center() {
    let with = |code| read(&[&CLIENT[..], &[("ZOHO_DATA_CENTER", code)]].concat());
    assert_eq!(with("in").expect("valid").home, DataCenter::In);
    let error = with("zoho.in").expect_err("no data center");
    assert!(
        error.contains("POBLYSH_ZOHO_DATA_CENTER must be one of us, eu,"),
        "{error}"
    );
}

fn budget(calls: usize) -> RateBudget {
    let calls = calls.to_string();
    let env = env(&[("ZOHO_ANY_PER_MINUTE", calls.as_str())]);
    let mut reader = Reader::new(&env);
    per_minute(
        &mut AppReader::new(&mut reader),
        "ZOHO_ANY_PER_MINUTE",
        20,
        LimitScope::Operation,
        &["list"],
    )
}

/// The times at which calls are admitted that are late by these times, in seconds.
///
/// The algorithm of the shared budget (`take.sql`), whose row survives a restart.
fn admitted(budget: &RateBudget, lateness: &[f64]) -> Vec<f64> {
    let pace = 1.0 / budget.per_second;
    let tolerance = f64::from(budget.burst - 1).mul_add(pace, budget.slack.as_secs_f64());
    let (mut tat, mut now): (f64, f64) = (0.0, 0.0);
    let calls = lateness.iter().map(|late| {
        now = now.max(tat - tolerance) + late;
        tat = tat.max(now) + pace;
        now
    });
    calls.collect()
}

/// The most arrivals in any minute, both ends included.
fn most_in_a_minute(arrivals: &mut [f64]) -> usize {
    arrivals.sort_by(f64::total_cmp);
    let within = |at: f64| {
        let arrivals = arrivals.iter();
        arrivals
            .filter(|one| (at..=at + 60.0).contains(*one))
            .count()
    };
    arrivals
        .iter()
        .map(|at| within(*at))
        .max()
        .unwrap_or_default()
}

proptest! {
    #[test]
    fn no_minute_has_more_calls_than_the_limit(
        calls in prop::sample::select(vec![1_usize, 2, 10, 20, 30, 100]),
        // Work between two calls, also pauses after which a burst would be possible.
        lateness in prop::collection::vec(prop_oneof![Just(0.0), 0.0..2.0, 0.0..90.0], 1..250),
        delays in prop::collection::vec(0.0..1.999, 250),
    ) {
        let admitted = admitted(&budget(calls), &lateness);
        let mut arrivals: Vec<f64> =
            admitted.iter().zip(&delays).map(|(at, delay)| at + delay).collect();
        let most = most_in_a_minute(&mut arrivals);
        prop_assert!(most <= calls, "{} of {}", most, calls);
    }

    #[test]
    fn late_calls_use_nine_tenths_of_the_limit(
        calls in prop::sample::select(vec![1_usize, 2, 10, 20, 30]),
        lateness in prop::collection::vec(0.0..1.5, 400),
    ) {
        let budget = budget(calls);
        let pace = 1.0 / budget.per_second;
        let admitted = admitted(&budget, &lateness);
        let elapsed = admitted.last().copied().unwrap_or_default() + pace;
        let used = 400.0 * 60.0 / elapsed / f64::from(u32::try_from(calls).expect("few"));
        prop_assert!(used >= 0.93, "{} of {}", used, calls);
    }
}
