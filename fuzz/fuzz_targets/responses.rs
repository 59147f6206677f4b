//! Responses of a provider's API.

#![no_main]

use std::sync::LazyLock;

use fuzz::providers::selected;
use fuzz::responses::ConnectorHarness;
use libfuzzer_sys::fuzz_target;

static HARNESS: LazyLock<ConnectorHarness> =
    LazyLock::new(|| ConnectorHarness::start(selected().slug));

fuzz_target!(|data: &[u8]| HARNESS.run(data));
