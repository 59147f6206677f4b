//! Tests of the storage layer against Postgres: schema, policies, queue, budgets.

mod bytes;
mod catalog;
mod connections;
mod credentials;
mod due_jobs;
mod entities;
mod events;
mod migrations;
mod plans;
mod queue;
mod rate_limits;
mod retention;
mod subscriptions;
mod webhook_keys;
