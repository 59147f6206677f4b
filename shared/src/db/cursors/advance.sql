-- Advances a stream's cursor by one page, unless another run has advanced it meanwhile.
--
-- Served by the primary key of `cursors`. The table has no other index, so the new version of the row
-- needs no index entry.
UPDATE cursors SET cursor = $5, version = version + 1, updated_at = now(),
    pending_upper_bound = $6, read_through = greatest(read_through, $7),
    attempted_through = greatest(attempted_through, $7), progress = $8,
    failing_since = NULL, failure = NULL, failures = 0,
    page_halvings = $11, good_pages = $12,
    requested_at = CASE WHEN requested_at IS DISTINCT FROM $13 THEN requested_at END,
    reconciled_through = CASE WHEN read_through IS NULL THEN $9 ELSE reconciled_through END,
    reconcile_at = CASE WHEN read_through IS NULL AND $7 IS NOT NULL
        THEN now() + random() * $10 * interval '1 second' ELSE reconcile_at END
WHERE tenant_id = $1 AND connection_id = $2 AND stream = $3 AND version = $4
