//! States of jobs.

stored_enum! {
    /// The state of a job.
    pub enum JobState as "job_state" {
        /// Waits for its `run_at` and a worker.
        Queued,
        /// A worker holds its lease.
        Running,
        /// Ended with success.
        Succeeded,
        /// Dead-lettered: ended without success, with its cause.
        Dead,
        /// Cancelled by a person.
        Cancelled,
    }
}
