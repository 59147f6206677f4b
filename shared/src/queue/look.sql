-- The newest $3 jobs of each of these kinds that have become due since $1, by line, and since
-- when the oldest of each waits: ranges of jobs_due, read from their ends.
SELECT look.at, line.tenant_id, line.priority, line.since, line.jobs
FROM (SELECT now() AS at) look
LEFT JOIN LATERAL (
    SELECT newest.tenant_id, newest.priority, min(newest.run_at) AS since, count(*) AS jobs
    FROM unnest($2::job_kind[]) wanted(kind)
    CROSS JOIN LATERAL (
        SELECT tenant_id, priority, run_at FROM jobs
        WHERE state = 'queued' AND kind = wanted.kind AND run_at BETWEEN $1 AND now()
        ORDER BY run_at DESC
        LIMIT $3
    ) newest
    GROUP BY newest.tenant_id, newest.priority
) line ON true
