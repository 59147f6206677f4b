-- Claims due jobs of the given partitions. A partition is one tenant and one priority: a range of
-- jobs_claim that begins at the position of its oldest known job.
WITH claimed AS MATERIALIZED (
    SELECT due.tenant_id, due.id
    FROM unnest($1::uuid[], $2::smallint[], $3::timestamptz[], $4::uuid[], $5::bigint[])
        AS partition_key(tenant_id, priority, run_at, id, max_jobs)
    CROSS JOIN LATERAL (
        SELECT j.tenant_id, j.id FROM jobs j
        WHERE j.state = 'queued' AND j.tenant_id = partition_key.tenant_id
          AND j.priority = partition_key.priority
          AND (j.run_at, j.id) >= (partition_key.run_at, partition_key.id)
          AND j.run_at <= now()
        ORDER BY j.run_at, j.id
        LIMIT partition_key.max_jobs
        FOR UPDATE SKIP LOCKED
    ) due
    LIMIT $6
)
UPDATE jobs SET
    state = 'running',
    attempts = attempts + 1,
    worker_id = $7,
    lease_token = nextval('job_lease_tokens'),
    started_at = now()
FROM claimed
WHERE jobs.tenant_id = claimed.tenant_id AND jobs.id = claimed.id
RETURNING jobs.id, jobs.lease_token, jobs.tenant_id, jobs.provider, jobs.connection_id,
    jobs.attempts, jobs.max_attempts, jobs.lost_attempts, jobs.payload, jobs.bytes,
    jobs.traceparent, jobs.run_at, jobs.started_at, jobs.kind, jobs.priority
