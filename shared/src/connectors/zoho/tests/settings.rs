//! Settings of the client.

use secrecy::ExposeSecret;

use super::super::per_minute;
use super::super::settings::ZohoApp;
use crate::config::Reader;
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

#[test]
fn calls_stay_below_the_limit_in_every_minute() {
    for (setting, calls) in [("1", 1.0), ("2", 2.0), ("10", 10.0), ("30", 30.0)] {
        let env = env(&[("ZOHO_ANY_PER_MINUTE", setting)]);
        let mut reader = Reader::new(&env);
        let mut reader = AppReader::new(&mut reader);
        let budget = per_minute(
            &mut reader,
            "ZOHO_ANY_PER_MINUTE",
            20,
            LimitScope::Operation,
            &["list"],
        );
        let in_a_minute = budget.per_second.mul_add(60.0, f64::from(budget.burst));
        // A limit of one call cannot be divided.
        assert!(
            in_a_minute <= f64::max(calls, 1.5) && budget.burst >= 1,
            "{setting}: {in_a_minute}"
        );
    }
}
