-- Jobs are claimed by line, which is a tenant's jobs of one priority: a range of jobs_claim. Which
-- lines there are is read from what has become due. The release before went round the tenants in
-- an index for each lane; it finds them in jobs_claim just as well.
CREATE INDEX jobs_due ON jobs (kind, run_at, tenant_id, priority) INCLUDE (bytes)
    WHERE state = 'queued';
DROP INDEX jobs_deliveries, jobs_others;
