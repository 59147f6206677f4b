//! Tests of the settings of providers.

use super::*;
use crate::connectors::ConnectorSettings;
use crate::connectors::testing::read_settings;

/// An app with one setting of each role.
#[derive(Debug)]
struct Sample {
    client: OAuthClient,
    webhook_secrets: Vec<SecretString>,
    base: Url,
}

impl App for Sample {
    const NAME: &'static str = "Sample app";

    fn limits(reader: &mut AppReader<'_, '_>) -> RateLimits {
        RateLimits {
            budgets: Vec::new(),
            account_concurrency: reader.within("SAMPLE_CONCURRENCY", 4, 1, 10),
            process_concurrency: 1,
        }
    }

    fn read(reader: &mut AppReader<'_, '_>, _: RateLimits) -> Option<Self> {
        Some(Self {
            client: reader.oauth_client("SAMPLE_CLIENT_ID", "SAMPLE_CLIENT_SECRET"),
            webhook_secrets: reader.optional_secrets("SAMPLE_WEBHOOK_SECRET"),
            base: reader.base_url("SAMPLE_BASE_URL", "https://sample.example"),
        })
    }

    fn descriptor(_: RateLimits) -> ProviderDescriptor {
        unreachable!("these tests need no descriptor")
    }
}

fn read(pairs: &[(&str, &str)]) -> Result<ProviderSettings<Sample>, String> {
    read_settings(pairs)
}

const CLIENT: [(&str, &str); 2] = [
    ("SAMPLE_CLIENT_ID", "the-client"),
    ("SAMPLE_CLIENT_SECRET", "the-new-secret-1,the-old-secret-0"),
];

#[test]
fn defaults_alone_configure_no_app() {
    for pairs in [
        &[][..],
        &[("SAMPLE_BASE_URL", "http://localhost:1")],
        &[("SAMPLE_CONCURRENCY", "7")],
    ] {
        assert!(read(pairs).expect("valid").app.is_none(), "{pairs:?}");
    }
    let settings = read(&[("SAMPLE_CONCURRENCY", "7")]).expect("valid");
    assert_eq!(settings.limits.account_concurrency, 7);
}

#[test]
fn configured_app_has_all_values() {
    let app = read(&CLIENT).expect("valid").app.expect("configured");
    assert_eq!(app.client.id, "the-client");
    assert_eq!(app.client.secrets.len(), 2);
    assert!(app.webhook_secrets.is_empty());
    assert_eq!(app.base.as_str(), "https://sample.example/");
}

#[test]
fn each_missing_required_setting_is_named() {
    let error = read(&[("SAMPLE_WEBHOOK_SECRET", "a-webhook-secret")]).expect_err("incomplete");
    assert_eq!(
        error,
        "invalid configuration:\n  \
         POBLYSH_SAMPLE_CLIENT_ID is not set, though other settings of the Sample app are\n  \
         POBLYSH_SAMPLE_CLIENT_SECRET is not set, though other settings of the Sample app are"
    );
}

#[test]
fn invalid_defaults_are_rejected_without_an_app() {
    assert!(read(&[("SAMPLE_BASE_URL", "sample.example")]).is_err());
    assert!(read(&[("SAMPLE_CONCURRENCY", "11")]).is_err());
}

#[test]
fn debug_output_hides_secrets() {
    let shown = format!("{:?}", read(&CLIENT).expect("valid"));
    assert!(shown.contains("the-client"), "{shown}");
    assert!(!shown.contains("secret-"), "{shown}");
}

#[test]
fn env_example_lists_all_settings_of_providers() {
    let known = ConnectorSettings::names();
    let prefix = |name: &str| name.split('_').next().unwrap_or_default().to_owned();
    let providers: Vec<String> = known.iter().map(|name| prefix(name)).collect();
    let listed: std::collections::BTreeSet<&str> = include_str!("../../../../.env.example")
        .lines()
        .filter_map(|line| line.trim_start_matches('#').strip_prefix("POBLYSH_"))
        .filter_map(|assignment| Some(assignment.split_once('=')?.0))
        .filter(|name| providers.contains(&prefix(name)))
        .collect();
    assert_eq!(listed, known);
}

#[test]
fn url_is_below_the_path_of_its_base() {
    for (base, expected) in [
        ("https://h.example", "https://h.example/a%2Fb/c"),
        (
            "https://h.example/api/v3/",
            "https://h.example/api/v3/a%2Fb/c",
        ),
    ] {
        let base = Url::parse(base).expect("a URL");
        assert_eq!(url_below(&base, &["a/b", "c"]).as_str(), expected);
    }
}
