//! The subcommands.

pub(crate) mod connect;
mod connection;
pub(crate) mod connections;
pub(crate) mod deliveries;
mod diagnose;
pub(crate) mod jobs;
pub(crate) mod keys;
mod limit;
pub(crate) mod manual;
pub(crate) mod migrate;
pub(crate) mod overview;
pub(crate) mod providers;
mod signal;
pub(crate) mod signals;
mod tail;
pub(crate) mod tenants;
