//! What tests are made of: a provider that behaves like the real one, and a harness that
//! starts the whole system against it.

pub mod harness;
pub mod simulator;
