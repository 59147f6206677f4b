//! The job queue: leases, fencing tokens and fair claims.
//!
//! A worker runs a job under a lease with a fencing token. A lease is valid while the worker's
//! heartbeat lasts, which is one row per worker instead of one write per job. After the last
//! heartbeat expires, another worker rescues the jobs within 15 s, and fencing rejects late writes
//! of the first one. Claims take turns over the tenants, so that one tenant's long queue does not
//! delay the jobs of another.
//!
//! [`JobQueue`] has all operations, and everything except the ingress's store statement uses the
//! queue through it. [`PgJobQueue`] keeps the jobs in Postgres, by whose clock all times are. There,
//! finished jobs move to `job_history` in the statement that finishes them, so that the `jobs`
//! table stays small.

pub mod bulk;
mod job;
mod job_queue;
pub mod jobs;
mod notifier;
mod postgres;
mod transition;

pub use job::*;
pub use job_queue::{ClaimRequest, DueWork, JobQueue, QueueDepth, QueueTotals};
pub use notifier::Notifier;
pub use postgres::PgJobQueue;
pub(crate) use postgres::{DELIVERY_ROW_BYTES, insert_jobs};
pub use transition::{Due, Transition};

pub use crate::model::WorkClass;

/// The lifetime of a worker's leases after its last heartbeat.
pub const LEASE_SECONDS: f64 = 10.0;

/// Lost attempts after which a job is dead-lettered.
///
/// An attempt is lost to a worker that stopped or to an interruption. After this many, the job
/// itself is the likely cause.
pub const MAX_LOST_ATTEMPTS: i16 = 10;
