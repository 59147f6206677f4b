//! Deliveries of a provider.

#![no_main]

use std::sync::{Arc, LazyLock};

use fuzz::providers::{Provider, connector, selected};
use libfuzzer_sys::fuzz_target;
use shared::connectors::Connector;

static PROVIDER: LazyLock<&'static Provider> = LazyLock::new(selected);
static CONNECTOR: LazyLock<Arc<dyn Connector>> =
    LazyLock::new(|| connector(PROVIDER.slug, "http://localhost:1"));

fuzz_target!(|data: &[u8]| (PROVIDER.check_delivery)(&**CONNECTOR, data));
