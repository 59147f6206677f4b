-- The state of the reads, one row per provider. Reads every connection once, the streams of
-- connections in their backfill by the primary key of cursors, and failing streams by the index
-- cursors_failing.
WITH denied AS (
    SELECT s.tenant_id, s.connection_id, count(*) AS streams
    FROM cursors s
    WHERE s.failing_since IS NOT NULL AND s.retired_at IS NULL AND s.failure ->> 'code' = 'permission'
    GROUP BY s.tenant_id, s.connection_id
), reads AS (
    SELECT c.tenant_id, c.id, c.provider,
        CASE WHEN c.status = 'active' THEN extract(epoch FROM now() - c.last_sync_at) END AS age,
        CASE WHEN c.status = 'active' AND c.backfilled_at IS NULL THEN (
            SELECT coalesce(avg(CASE WHEN s.read_through IS NULL THEN s.progress ELSE 1 END), 0)
            FROM cursors s
            WHERE s.tenant_id = c.tenant_id AND s.connection_id = c.id AND s.retired_at IS NULL
        ) END AS progress
    FROM connections c
)
SELECT r.provider,
    coalesce(max(r.age), 0)::float8 AS last_sync_age_seconds,
    count(r.progress) AS backfills,
    coalesce(min(r.progress), 1)::float8 AS backfill_progress,
    coalesce(sum(d.streams), 0)::bigint AS streams_denied
FROM reads r
LEFT JOIN denied d ON d.tenant_id = r.tenant_id AND d.connection_id = r.id
GROUP BY r.provider
