//! Test harness, which starts the whole system against the provider simulator.
//!
//! Also a check of one provider with a real account, and the client of the API for it and the demo.

pub mod api;
pub mod harness;
pub mod live;
