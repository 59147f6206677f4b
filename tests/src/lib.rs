//! Test harness: starts the whole system against the provider simulator. And a check of one
//! provider with a real account.

pub mod harness;
pub mod live;
