//! Payloads and answers that others recorded from the providers: every one is understood.
//!
//! They are read from the folder that `POBLYSH_FIXTURES` names, in whose `INDEX.tsv` each
//! stands with its event; without that folder, these tests say so and check nothing. What
//! each payload must give is worked out here, from the Signal catalogue's tables and not from
//! the connectors' code. Everything goes through the `Connector` trait, and what was recorded of
//! GitHub's lists through the whole product as well ([`replay`]).

mod answers;
mod folder;
mod github;
mod jira;
mod must;
mod provider;
mod replay;
mod report;
mod scene;
mod server;
mod slack;
