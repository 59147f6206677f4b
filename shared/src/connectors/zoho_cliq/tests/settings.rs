//! Settings, and the limits that they set.

use std::sync::Arc;

use super::{now, settings};
use crate::clock::{ManualClock, SharedClock};
use crate::config::{Env, Reader};
use crate::connectors::testing::read_settings;
use crate::connectors::zoho_cliq::{AppSettings, Webhooks, ZohoCliqSettings};
use crate::connectors::{RateLimits, WebhookVerifier};
use crate::model::LimitScope;

fn read(further: &[(&'static str, &str)]) -> Result<ZohoCliqSettings, String> {
    let mut pairs = settings("http://localhost:1");
    let further = further.iter();
    pairs.extend(further.map(|(name, value)| (*name, (*value).to_owned())));
    read_settings::<AppSettings, _>(&pairs)
}

/// Asserts that the budgets use at least nine tenths of these limits per minute, and not all.
fn assert_limits(limits: &RateLimits, calls: [f64; 2]) {
    assert_eq!(limits.budgets.len(), calls.len());
    for (budget, calls) in limits.budgets.iter().zip(calls) {
        assert_eq!((budget.scope, budget.burst), (LimitScope::Operation, 1));
        let used = budget.per_second * 60.0 / calls;
        assert!((0.9..1.0).contains(&used), "{used} of {calls}");
    }
}

#[test]
fn limits_stay_below_those_of_cliq() {
    let settings = read(&[]).expect("valid settings");
    assert_limits(&settings.limits, [10.0, 20.0]);
    let more = [
        ("ZOHO_CLIQ_MESSAGES_PER_MINUTE", "100"),
        ("ZOHO_CLIQ_REQUESTS_PER_MINUTE", "30"),
    ];
    let settings = read(&more).expect("valid settings");
    assert_limits(&settings.limits, [100.0, 30.0]);
}

#[test]
fn every_operation_has_a_budget() {
    let settings = read(&[]).expect("valid settings");
    let budgets = settings.limits.budgets.iter();
    let mut operations: Vec<&str> = budgets
        .flat_map(|budget| budget.operations.iter().copied())
        .collect();
    operations.sort_unstable();
    let expected = [
        "get_user",
        "list_channels",
        "list_chats",
        "list_messages",
        "list_threads",
    ];
    assert_eq!(operations, expected);
}

#[test]
fn invalid_values_are_named() {
    for name in [
        "ZOHO_CLIQ_MESSAGES_PER_MINUTE",
        "ZOHO_CLIQ_REQUESTS_PER_MINUTE",
    ] {
        let error = read(&[(name, "0")]).expect_err("an invalid value");
        assert!(error.contains(&format!("POBLYSH_{name}")), "{error}");
    }
}

#[test]
fn ingress_needs_no_setting() {
    let clock: SharedClock = Arc::new(ManualClock::new(now()));
    let env = Env::default();
    let mut reader = Reader::new(&env);
    let verifier = Webhooks::from_reader(&mut reader, &clock);
    reader.finish().expect("valid settings");
    assert!(!verifier.is_configured(), "no delivery to the app's URL");
    let own = verifier.descriptor().connection_webhooks;
    assert!(own.is_some_and(|own| own.accepts_public_key && own.handshake_header.is_none()));
}
