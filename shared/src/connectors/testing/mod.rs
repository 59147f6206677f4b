//! What the connectors' tests share: a gate, golden files, strange payloads.

mod gate;
mod golden;
mod strange;
mod verify;

pub(super) use gate::{OpenGate, deps};
pub(super) use golden::{kinds, payload, payloads, snapshots};
pub(super) use strange::{change, json, leave_out, value};
pub(super) use verify::{SecretsOf, verify};
