//! The measured system: child processes and a provider without delays.

use tests::harness::{System, SystemBuilder};

/// Builder of a system without limits per tenant and key: the whole load is one tenant's.
pub(crate) fn fast() -> SystemBuilder {
    let max_requests = "100000000";
    System::with_fast_provider()
        .out_of_process()
        .env("POBLYSH_API_KEY_REQUESTS_PER_MINUTE", max_requests)
        .env("POBLYSH_API_TENANT_REQUESTS_PER_MINUTE", max_requests)
        .env("POBLYSH_INGRESS_TENANT_BACKLOG_MIB", "8192")
}
