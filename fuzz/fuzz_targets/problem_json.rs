//! Requests to both servers: every error response is problem details (RFC 9457).

#![no_main]

use std::sync::{LazyLock, Mutex, PoisonError};

use fuzz::servers::Servers;
use libfuzzer_sys::fuzz_target;

static SERVERS: LazyLock<Mutex<Servers>> = LazyLock::new(|| Mutex::new(Servers::start()));

fuzz_target!(|data: &[u8]| {
    let mut servers = SERVERS.lock().unwrap_or_else(PoisonError::into_inner);
    servers.run(data);
});
