-- Served by signals_once; rows that conflict are known facts. The activity of their connections is
-- updated once a minute, unless another transaction does so now.
WITH stored AS (
    INSERT INTO signals (tenant_id, id, connection_id, source, kind, dedupe_key, occurred_at,
        received_at, body, raw, traceparent, schema_version)
    SELECT s.tenant_id, s.id, s.connection_id, s.source, s.kind, s.dedupe_key, s.occurred_at,
        s.received_at, s.body::json, s.raw::json, s.traceparent, $12
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[],
        $7::timestamptz[], $8::timestamptz[], $9::text[], $10::text[], $11::text[])
        AS s(tenant_id, id, connection_id, source, kind, dedupe_key, occurred_at, received_at, body,
             raw, traceparent)
    ON CONFLICT ON CONSTRAINT signals_once DO NOTHING
    RETURNING tenant_id, connection_id, source, kind, occurred_at
), idle AS MATERIALIZED (
    -- Lateral, so that each row is read by primary key.
    SELECT k.tenant_id, k.connection_id
    FROM (SELECT DISTINCT tenant_id, connection_id FROM stored) k
    CROSS JOIN LATERAL (
        SELECT FROM connection_activity a
        WHERE a.tenant_id = k.tenant_id AND a.connection_id = k.connection_id
          AND (a.last_signal_at IS NULL OR a.last_signal_at < now() - interval '1 minute')
        FOR NO KEY UPDATE SKIP LOCKED
    ) a
), updated AS (
    UPDATE connection_activity a SET last_signal_at = now() FROM idle i
    WHERE a.tenant_id = i.tenant_id AND a.connection_id = i.connection_id
)
SELECT source, kind, occurred_at FROM stored
