//! Answers of Jira's API.

#![no_main]

use std::sync::LazyLock;

use fuzz::answers::Asking;
use libfuzzer_sys::fuzz_target;

static ASKING: LazyLock<Asking> = LazyLock::new(|| Asking::start("jira"));

fuzz_target!(|data: &[u8]| ASKING.run(data));
