//! Test harness: starts the whole system against the provider simulator.

pub mod harness;
