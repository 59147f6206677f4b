-- Inserts the streams that a page of the root stream lists, or restores and updates them.
--
-- Served by the primary key of `cursors`. Rows are locked in the order of their keys.
INSERT INTO cursors (tenant_id, connection_id, stream, resource_id, target, backfill_from,
    listed_at)
SELECT DISTINCT ON (s.stream) $1::uuid, $2::uuid, s.stream, s.resource_id,
    s.target::json, $6::timestamptz, $7::timestamptz
FROM unnest($3::text[], $4::text[], $5::text[]) AS s(stream, resource_id, target)
ORDER BY s.stream
ON CONFLICT (tenant_id, connection_id, stream) DO UPDATE SET
    target = excluded.target, resource_id = excluded.resource_id,
    retired_at = NULL, retired_reason = NULL, listed_at = excluded.listed_at,
    updated_at = now()
