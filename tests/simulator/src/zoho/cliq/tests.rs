//! Tests of Cliq over HTTP.
