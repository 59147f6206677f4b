//! Shared code of the fuzz targets: input format, harnesses and invariants.
//!
//! The targets use the interfaces of production: the connector trait, and the servers over HTTP.
//! Invariants beyond "no panic" are computed without the code under test.

pub mod message;
pub mod provider;
pub mod providers;
pub mod responses;
pub mod servers;
pub mod signature;
pub mod webhook;
