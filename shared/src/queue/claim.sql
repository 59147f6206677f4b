-- Claims due jobs, going round the tenants from a random one, so that the length of one
-- tenant's queue is no other's concern. Each step of the walk is one probe of jobs_deliveries;
-- or of jobs_others, when it is for the other lane and `=` stands as `<>`.
WITH RECURSIVE after_start AS (
    (SELECT tenant_id FROM jobs
     WHERE state = 'queued' AND kind = 'process_deliveries' AND tenant_id >= $1
     ORDER BY tenant_id LIMIT 1)
    UNION ALL
    SELECT (SELECT j.tenant_id FROM jobs j
            WHERE j.state = 'queued' AND j.kind = 'process_deliveries'
              AND j.tenant_id > w.tenant_id
            ORDER BY j.tenant_id LIMIT 1)
    FROM after_start w WHERE w.tenant_id IS NOT NULL
), before_start AS (
    (SELECT tenant_id FROM jobs
     WHERE state = 'queued' AND kind = 'process_deliveries' AND tenant_id < $1
     ORDER BY tenant_id LIMIT 1)
    UNION ALL
    SELECT (SELECT j.tenant_id FROM jobs j
            WHERE j.state = 'queued' AND j.kind = 'process_deliveries'
              AND j.tenant_id > w.tenant_id AND j.tenant_id < $1
            ORDER BY j.tenant_id LIMIT 1)
    FROM before_start w WHERE w.tenant_id IS NOT NULL
), tenants AS (
    SELECT tenant_id FROM after_start WHERE tenant_id IS NOT NULL
    UNION ALL
    SELECT tenant_id FROM before_start WHERE tenant_id IS NOT NULL
), picked AS MATERIALIZED (
    SELECT due.tenant_id, due.id
    FROM tenants t
    CROSS JOIN LATERAL (
        SELECT j.tenant_id, j.id FROM jobs j
        WHERE j.state = 'queued' AND j.kind = 'process_deliveries'
          AND j.tenant_id = t.tenant_id AND j.run_at <= now() AND j.kind = ANY ($2)
        ORDER BY j.priority, j.run_at, j.id
        LIMIT $3
        FOR UPDATE SKIP LOCKED
    ) due
    WHERE t.tenant_id <> ALL ($4)
    LIMIT $5
)
UPDATE jobs SET
    state = 'running',
    attempts = attempts + 1,
    worker_id = $6,
    lease_token = nextval('job_lease_tokens'),
    started_at = now()
FROM picked
WHERE jobs.tenant_id = picked.tenant_id AND jobs.id = picked.id
RETURNING jobs.id, jobs.lease_token, jobs.tenant_id, jobs.provider, jobs.connection_id,
    jobs.attempts, jobs.max_attempts, jobs.payload, jobs.bytes, jobs.traceparent, jobs.run_at,
    jobs.priority
