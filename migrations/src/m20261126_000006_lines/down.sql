CREATE INDEX jobs_deliveries ON jobs (tenant_id, priority, run_at, id) INCLUDE (bytes)
    WHERE state = 'queued' AND kind = 'process_deliveries';
CREATE INDEX jobs_others ON jobs (tenant_id, priority, run_at, id)
    WHERE state = 'queued' AND kind <> 'process_deliveries';
DROP INDEX jobs_due;
