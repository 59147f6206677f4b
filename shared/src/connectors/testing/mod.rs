//! Test support of the connectors: a no-op rate limiter, golden files, arbitrary payloads.

mod arbitrary;
mod golden;
mod noop_limiter;
mod verify;

pub(super) use arbitrary::{json, remove_at, replace_at, value};
pub(super) use golden::{kinds, payload, payloads, snapshots};
pub(super) use noop_limiter::{NoopLimiter, deps};
pub(super) use verify::{SecretsOf, verify};
