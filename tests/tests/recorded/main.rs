//! Tests with third-party recordings of the providers' payloads and responses.
//!
//! `POBLYSH_FIXTURES` names the folder of the recordings, with an `INDEX.tsv` of all files and
//! their events. Without it, these tests print a note and check nothing. The expected Signals are
//! derived from the Signal catalogue's tables, not from the connectors' code. All recordings go
//! through the `Connector` trait; GitHub's lists also through the whole system ([`replay`]).

mod exchanges;
mod expectation;
mod fixture;
mod folder;
mod github;
mod gmail;
mod google_calendar;
mod jira;
mod provider;
mod replay;
mod report;
mod server;
mod slack;
mod zoho_cliq;
mod zoho_mail;
