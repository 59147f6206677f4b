//! Test harness and provider simulator.
//!
//! The simulator is an HTTP server that behaves like the providers; the harness starts the whole
//! system against it.

pub mod harness;
pub mod simulator;
