//! The way to Postgres: a pool that never runs as owner, transactions that name their
//! tenant, and one file of functions per aggregate.
//!
//! Every statement about a tenant's rows runs in a transaction begun with a
//! [`TenantScope`], which only authentication or a claimed job can make. Row-level
//! security reads the scope; the statements name the tenant as well, because a policy is
//! the second lock and not the first.
//!
//! Transactions lock rows in one order, so that none waits for another in a circle: a job that they
//! run, the connection, its routes, its streams, its subscriptions, its credentials, directory
//! entries, deliveries. Jobs of others come in a transaction of their own.

mod error;
mod line;
mod pool;
mod scope;
mod shares;
mod text;

pub mod api_keys;
pub mod audit;
pub mod connect_links;
pub mod connections;
pub mod credentials;
pub mod cursors;
pub mod deliveries;
pub mod directory;
pub mod idempotency;
pub mod jobs;
pub mod oauth_states;
pub mod page;
pub mod resources;
pub mod retention;
pub mod routes;
pub mod schedule;
pub mod sealed;
pub mod subscriptions;
pub mod tenants;
pub mod time;
pub mod unmatched;
pub mod webhook_secrets;

pub use error::DbError;
pub use line::{Line, Tx};
pub use pool::{Db, Role};
pub use scope::{OperatorProof, TenantScope};
pub(crate) use shares::Shares;
pub(crate) use text::{Json, storable, storable_all, storable_json};
