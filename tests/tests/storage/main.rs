//! What the database promises: schema, policies, queue.

mod catalog;
mod migrations;
mod plans;
mod queue;
mod retention;
