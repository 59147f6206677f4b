//! Access to Postgres: session pool, tenant-scoped transactions, one module per aggregate.
//!
//! Rows of an aggregate are listed, read and written through SeaORM's entities, which are private to
//! this module; hot and set-based statements, and those that write several tables, are SQL.
//!
//! Every statement on a tenant's rows runs in a transaction with a [`TenantScope`], which only
//! authentication or a claimed job can create. Row-level security reads the scope. Statements name
//! the tenant as well, because the policies are the second line of defence, not the first. The pool
//! never runs as the owner of the schema.
//!
//! To avoid deadlocks, transactions lock rows in one order: the job that they run, the connection,
//! its routes, streams, subscriptions and credentials, directory entries, deliveries. Other jobs
//! are locked in a separate transaction.

mod entities;
mod error;
mod executor;
mod orm;
mod pool;
mod sanitize;
mod scope;
mod session;
mod shares;

pub mod activity;
pub mod api_keys;
pub mod audit;
pub mod clock_sync;
pub mod connect_links;
pub mod connections;
pub mod credentials;
pub mod cursors;
pub mod deliveries;
pub mod directory;
pub mod due_times;
pub mod idempotency;
pub mod jobs;
pub mod oauth_states;
pub mod overview;
pub mod page;
pub mod periodic;
pub mod resources;
pub mod reading;
pub mod retention;
pub mod routes;
pub mod sealed;
pub mod subscriptions;
pub mod tenants;
pub mod transactions;
pub mod unmatched;
pub mod webhook_results;
pub mod webhook_secrets;

pub use error::DbError;
pub use pool::{Db, Role};
pub(crate) use sanitize::{Json, sanitize, sanitize_all, sanitize_json};
pub use scope::{OperatorProof, TenantScope};
pub use session::{Session, Tx};
pub(crate) use shares::Shares;
