-- Marks streams without new facts as read up to a run's upper bound.
--
-- Served by the primary key of `cursors`. Rows are locked in the order of their keys.
WITH locked AS MATERIALIZED (
    SELECT stream FROM cursors
    WHERE tenant_id = $1 AND connection_id = $2 AND stream = ANY ($3)
    ORDER BY stream FOR NO KEY UPDATE
)
UPDATE cursors c SET updated_at = now(), failing_since = NULL, failure = NULL, failures = 0,
    attempted_through = greatest(attempted_through, $4),
    read_through = greatest(read_through, $4)
FROM locked l
WHERE c.tenant_id = $1 AND c.connection_id = $2 AND c.stream = l.stream
