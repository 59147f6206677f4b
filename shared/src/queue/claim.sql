-- Claims due jobs of the lines that are named: a line is what waits of one tenant at one
-- priority. Each is a range of jobs_claim that begins where its oldest job was seen.
WITH picked AS MATERIALIZED (
    SELECT due.tenant_id, due.id
    FROM unnest($1::uuid[], $2::smallint[], $3::timestamptz[], $4::uuid[], $5::bigint[])
        AS line(tenant_id, priority, run_at, id, most)
    CROSS JOIN LATERAL (
        SELECT j.tenant_id, j.id FROM jobs j
        WHERE j.state = 'queued' AND j.tenant_id = line.tenant_id
          AND j.priority = line.priority AND (j.run_at, j.id) >= (line.run_at, line.id)
          AND j.run_at <= now()
        ORDER BY j.run_at, j.id
        LIMIT line.most
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
FROM picked
WHERE jobs.tenant_id = picked.tenant_id AND jobs.id = picked.id
RETURNING jobs.id, jobs.lease_token, jobs.tenant_id, jobs.provider, jobs.connection_id,
    jobs.attempts, jobs.max_attempts, jobs.losses, jobs.payload, jobs.bytes, jobs.traceparent, jobs.run_at,
    jobs.started_at, jobs.kind, jobs.priority
