//! Test support of the connectors: a no-op rate limiter, settings, redirects, golden
//! files, arbitrary payloads.

mod arbitrary;
mod connect;
mod golden;
mod noop_limiter;
mod settings;
mod verify;

pub(super) use arbitrary::{json, remove_at, replace_at, value};
pub(super) use connect::{CHALLENGE, REDIRECT, VERIFIER, authorize_request, callback};
pub(super) use golden::{kinds, payload, payloads, snapshots};
pub(super) use noop_limiter::{NoopLimiter, deps};
pub(super) use settings::{Settings, build, env, read_settings};
pub(super) use verify::{SecretsOf, verify};
