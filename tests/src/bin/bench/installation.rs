//! The system that rows measure: processes of their own and a provider that answers at once.

use tests::harness::{System, SystemBuilder};

/// A system whose limits on a single tenant's share are out of the way: a load is that of one
/// tenant and one key, and as large as the machine can do.
pub(crate) fn fast() -> SystemBuilder {
    let most_requests = "100000000";
    System::with_fast_provider()
        .outside()
        .env("POBLYSH_API_KEY_REQUESTS_PER_MINUTE", most_requests)
        .env("POBLYSH_API_TENANT_REQUESTS_PER_MINUTE", most_requests)
        .env("POBLYSH_INGRESS_TENANT_BACKLOG_MIB", "8192")
}
