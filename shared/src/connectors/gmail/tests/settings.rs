//! Settings: what is required, and what contradicts itself.

use std::sync::Arc;

use crate::clock::{ManualClock, SharedClock};
use crate::config::{Env, Reader};
use crate::connectors::gmail::settings::{AppSettings, GmailSettings};
use crate::connectors::gmail::{MailboxAccess, Webhooks};
use crate::connectors::testing::read_settings;
use crate::connectors::{Connector, WebhookVerifier};

const CLIENT: [(&str, &str); 2] = [
    ("GOOGLE_CLIENT_ID", "the-client"),
    ("GOOGLE_CLIENT_SECRET", "s3cret-of-the-client"),
];

fn read(further: &[(&str, &str)]) -> Result<GmailSettings, String> {
    read_settings::<AppSettings, _>(&[&CLIENT[..], further].concat())
}

#[test]
fn client_alone_configures_polling() {
    let app = read(&[]).expect("valid").app.expect("an app");
    assert!(app.topic.is_none() && app.pushes.is_none());
    assert_eq!(app.access, MailboxAccess::Metadata);
    assert_eq!(app.limits.account_concurrency, 10);
}

#[test]
fn pushes_have_public_url_as_default_audience() {
    let service_account = ("GMAIL_PUSH_ACCOUNT", "push@p.iam.gserviceaccount.com");
    let url = ("PUBLIC_WEBHOOK_URL", "https://hooks.example/base/");
    let app = read(&[service_account, url])
        .expect("valid")
        .app
        .expect("an app");
    let pushes = app.pushes.expect("pushes");
    assert_eq!(pushes.audience, "https://hooks.example/base/webhooks/gmail");
    assert_eq!(
        pushes.keys_url.as_str(),
        "https://www.googleapis.com/oauth2/v3/certs"
    );
    let audience = ("GMAIL_PUSH_AUDIENCE", "an-audience");
    let app = read(&[service_account, audience])
        .expect("valid")
        .app
        .expect("an app");
    assert_eq!(app.pushes.expect("pushes").audience, "an-audience");
}

#[test]
fn invalid_values_are_named() {
    for (name, value) in [
        ("GMAIL_SCOPE", "everything"),
        ("GMAIL_TOPIC", "gmail"),
        ("GMAIL_TOPIC", "projects/p/topics/"),
        ("GMAIL_TOPIC", "projects/p/subscriptions/s"),
        ("GMAIL_PUSH_ACCOUNT", "push"),
        ("GMAIL_CONCURRENCY", "21"),
    ] {
        let error = read(&[(name, value)]).expect_err("an invalid value");
        assert!(error.contains(&format!("POBLYSH_{name}")), "{error}");
    }
}

#[test]
fn scope_setting_decides_what_is_asked_for() {
    for (value, scope) in [
        ("metadata", "gmail.metadata"),
        ("readonly", "gmail.readonly"),
    ] {
        let gmail = super::connector("http://localhost:1", &[("GMAIL_SCOPE", value)]);
        let scopes = gmail.descriptor().scopes;
        assert!(
            scopes.iter().any(|asked| asked.ends_with(scope)),
            "{scopes:?}"
        );
        assert_eq!(scopes.len(), 3);
    }
}

#[test]
fn ingress_needs_no_client_and_no_secret() {
    let clock: SharedClock = Arc::new(ManualClock::new(super::now()));
    let verifier = |pairs: &[(&str, &str)]| {
        let env = Env::from_pairs(pairs.iter().copied());
        let mut reader = Reader::new(&env);
        let verifier = Webhooks::from_reader(&mut reader, &clock);
        reader.finish().expect("valid settings");
        verifier
    };
    assert!(!verifier(&[]).is_configured());
    let account = (
        "POBLYSH_GMAIL_PUSH_ACCOUNT",
        "push@p.iam.gserviceaccount.com",
    );
    assert!(verifier(&[account]).is_configured());
}
