//! What the fuzz targets have in common: how they read their input, what they call, and what
//! must hold whatever the input is.
//!
//! Everything goes through the front door that production uses: the connectors' trait, and the
//! servers over HTTP. What must hold beside "no panic" is worked out without the code under
//! test.

pub mod answers;
pub mod message;
pub mod provider;
pub mod servers;
pub mod signature;
pub mod webhook;
