-- The newest $3 jobs of each kind that became due since $1, by partition, with the run_at of the
-- oldest one. Reads ranges of jobs_due from their ends. Without $3 it is a full scan.
SELECT scan.at, due.tenant_id, due.priority, due.since, due.jobs
FROM (SELECT now() AS at) scan
LEFT JOIN LATERAL (
    SELECT newest.tenant_id, newest.priority, min(newest.run_at) AS since, count(*) AS jobs
    FROM unnest($2::job_kind[]) requested(kind)
    CROSS JOIN LATERAL (
        SELECT tenant_id, priority, run_at FROM jobs
        WHERE state = 'queued' AND kind = requested.kind AND run_at BETWEEN $1 AND now()
        ORDER BY run_at DESC
        LIMIT $3
    ) newest
    GROUP BY newest.tenant_id, newest.priority
) due ON true
