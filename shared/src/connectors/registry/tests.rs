//! Tests of the registry without and with configured providers.

mod signals_page;

use super::*;
use crate::config::{Env, Reader};
use crate::connectors::testing::{deps, env};

/// Builds a registry with these settings.
fn registry(env: &Env) -> Registry {
    let mut reader = Reader::new(env);
    let settings = ConnectorSettings::from_reader(&mut reader);
    reader.finish().expect("valid settings");
    let (deps, _) = deps(chrono::DateTime::UNIX_EPOCH);
    Registry::new(settings, &deps).expect("a registry")
}

#[test]
fn registry_lists_unconfigured_providers() {
    let registry = registry(&Env::default());
    let mut slugs = std::collections::BTreeSet::new();
    for (descriptor, is_configured) in registry.iter() {
        let slug = descriptor.slug;
        assert!(!is_configured, "{slug}");
        assert!(slugs.insert(slug), "{slug} is listed once");
        assert_eq!(
            registry.get(slug).err(),
            Some(RegistryError::NotConfigured(slug))
        );
    }
    assert!(!slugs.is_empty());
    assert_eq!(
        registry.get("gitlab").err(),
        Some(RegistryError::Unknown("gitlab".to_owned()))
    );
}

#[test]
fn settings_of_tests_configure_every_provider() {
    let registry = registry(&env(&ConnectorSettings::of_tests("http://localhost:1")));
    for (descriptor, is_configured) in registry.iter() {
        assert!(is_configured, "{}", descriptor.slug);
    }
}
