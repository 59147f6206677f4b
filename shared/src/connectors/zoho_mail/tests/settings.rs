//! Settings: limits, and what the ingress needs.

use std::sync::Arc;

use crate::clock::{ManualClock, SharedClock};
use crate::config::{Env, Reader};
use crate::connectors::WebhookVerifier;
use crate::connectors::testing::read_settings;
use crate::connectors::zoho_mail::Webhooks;
use crate::connectors::zoho_mail::settings::{AppSettings, ZohoMailSettings};
use crate::model::LimitScope;

fn read(pairs: &[(&str, &str)]) -> Result<ZohoMailSettings, String> {
    read_settings::<AppSettings, _>(pairs)
}

#[test]
fn mail_is_unconfigured_without_settings() {
    assert!(read(&[]).expect("valid").app.is_none());
    let base = read(&[("ZOHO_BASE_URL", "http://localhost:1")]);
    assert!(base.expect("valid").app.is_none());
}

#[test]
fn incomplete_settings_name_the_missing_one() {
    let secret = "s3cret-of-the-client";
    for (set, missing) in [
        ("ZOHO_CLIENT_ID", "ZOHO_CLIENT_SECRET"),
        ("ZOHO_CLIENT_SECRET", "ZOHO_CLIENT_ID"),
        ("ZOHO_CLIENT_SECRET_EU", "ZOHO_CLIENT_ID"),
    ] {
        let error = read(&[(set, secret)]).expect_err("an incomplete app");
        let expected = format!("POBLYSH_{missing} is not set");
        assert!(error.contains(&expected), "{error}");
        assert!(!error.contains("s3cret"));
    }
}

#[test]
fn one_limit_covers_every_call_of_the_api() {
    let limits = read(&[]).expect("valid").limits;
    let [budget] = &limits.budgets[..] else {
        panic!("{limits:?}");
    };
    assert_eq!(budget.scope, LimitScope::Account);
    for operation in ["list_accounts", "list_folders", "list_messages"] {
        assert!(budget.operations.contains(&operation), "{operation}");
    }
    let in_a_minute = budget.per_second * 60.0;
    assert!((27.0..30.0).contains(&in_a_minute), "{in_a_minute}");
    assert_eq!(budget.burst, 1);
    assert_eq!(limits.account_concurrency, 1);
}

#[test]
fn ingress_needs_no_client_and_no_secret() {
    let clock: SharedClock = Arc::new(ManualClock::new(super::now()));
    let env = Env::default();
    let mut reader = Reader::new(&env);
    let verifier = Webhooks::from_reader(&mut reader, &clock);
    reader.finish().expect("valid settings");
    assert!(!verifier.is_configured(), "at the app's URL");
    let own = verifier.descriptor().connection_webhooks;
    assert_eq!(
        own.expect("own URLs").handshake_header,
        Some("x-hook-secret")
    );
}
